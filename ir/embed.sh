#!/bin/sh
# Prints a C file that holds text files as strings, for `bfcc` to carry them along.
#   embed.sh HEADER NAME SUFFIX FILE... defines `const struct NAME_file NAME_files[]` (declared in
#   HEADER as {const char *name; const char *text;}) and `const size_t NAME_file_count`.
# An entry's name is the file's base name less SUFFIX; the array ends in an entry of NULLs.
set -eu
header=$1 name=$2 suffix=$3
shift 3
printf '#include "%s"\n\nconst struct %s_file %s_files[] = {\n' "$header" "$name" "$name"
for file; do
    printf '    {"%s",\n' "$(basename "$file" "$suffix")"
    # A question mark is escaped because `??` begins a trigraph in ISO C17.
    sed -e 's/[\\"?]/\\&/g' -e 's/	/\\t/g' -e 's/.*/     "&\\n"/' "$file"
    printf '     ""},\n'
done
printf '    {NULL, NULL},\n};\nconst size_t %s_file_count = %d;\n' "$name" $#
