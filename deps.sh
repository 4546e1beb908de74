#!/bin/sh
# Installs what deps.txt lists and the machine lacks, when root or with sudo; else prints the one
# line to run and exits 1. Says nothing when all is there.
set -eu
missing=
for package in $(sed 's/#.*//' "$(dirname "$0")/deps.txt"); do
    case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || :) in
    installed*) ;;
    *) missing="$missing $package" ;;
    esac
done
[ "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=sudo
else
    echo "packages are missing; run this once, then try again:" >&2
    echo "    apt-get update && apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

echo "installing$missing"
install="$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends"
# Package lists are fetched only when the ones at hand (maybe none) do not do.
$install $missing >/dev/null 2>&1 || { $as_root apt-get update -qq && $install $missing >/dev/null; }
