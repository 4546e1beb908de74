# Completion of bfcc, bfrun, bfdis and bfas in bash. Options are those that --help prints, so this
# file has none to keep; values are asked of the program, too.

_bfcc_words() {
    COMPREPLY=($(compgen -W "$1" -- "$2"))
}

_bfcc() {
    local program=$1 word=$2 before=$3 prefix=
    COMPREPLY=()
    # Bash splits -emit=po in three words.
    if [[ $word == = ]]; then
        word=
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    case $before in
    -emit) _bfcc_words "$("$program" --help 2>/dev/null |
        sed -n 's/^  -emit LEVEL *//p' | tr -cs 'a-z' ' ')" "$word" ;;
    -print-after | -print-before | -passes)
        _bfcc_words "$("$program" -list-passes 2>/dev/null | cut -d' ' -f1) all" "$word" ;;
    -arch | -print-arch)
        _bfcc_words "$("$program" -list-arch 2>/dev/null) $(compgen -f -- "$word")" "$word" ;;
    -device) _bfcc_words "sim ref host" "$word" ;;
    -stats) _bfcc_words "text json" "$word" ;;
    *)
        if [[ $word == -* ]]; then
            _bfcc_words "$("$program" --help 2>/dev/null |
                grep -o '^  .\{22\}' | grep -oE -- '--?[A-Za-z][A-Za-z0-9-]*' | sort -u)" "$word"
        fi ;;
    esac
    [[ ${COMPREPLY[*]} ]] || COMPREPLY=($(compgen -f -- "$word"))
}

complete -o filenames -F _bfcc bfcc bfrun bfdis bfas
