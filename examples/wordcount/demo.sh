#!/bin/sh
# demo.sh BUILD_DIR [--check] [PATH...]
#
# Counts the words of PATHs with three worker processes, then once more while one of them
# is killed, and compares. With --check also against a count by tr, sort and uniq. Exit
# status 0: all counts are the same, byte for byte.
set -eu

if [ $# -lt 1 ]; then
    echo "usage: demo.sh BUILD_DIR [--check] [PATH...]" >&2
    exit 2
fi
wordcount=$1/examples/wordcount
shift
check=no
if [ "${1:-}" = --check ]; then
    check=yes
    shift
fi
export LC_ALL=C

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
trap 'exit 1' HUP INT TERM

# The same count without hark. grep prints each line of each file and ends the last one,
# so that no word runs on into the next file.
count_independently() {
    "$wordcount" --list-files --null "$@" >"$temp/files"
    { xargs -0 -r grep -ah '' <"$temp/files" || true; } |
        tr -cs 'A-Za-z' '\n' | tr 'A-Z' 'a-z' | { grep -v '^$' || true; } |
        sort | uniq -c | sed 's/^ *//' | sort -k1,1nr -k2,2
}

# same FILE FILE WHAT
same() {
    if ! cmp "$1" "$2"; then
        echo "demo: FAILED: $3 differ"
        exit 1
    fi
    echo "demo: $3 are the same, byte for byte: $(wc -l <"$2") distinct words"
}

echo "demo: one coordinator and three worker processes count words over tcp"
"$wordcount" --workers 3 --top 10 --all "$temp/plain" "$@"
echo
echo "demo: the same, and one worker is killed on the way; others do its chunks again"
"$wordcount" --workers 3 --top 0 --all "$temp/killed" --kill-one --chunk 262144 "$@" \
    >"$temp/summary"
cat "$temp/summary"
echo
if ! grep -q '^workers lost *1$' "$temp/summary"; then
    echo "demo: the text was so short that it was counted before a worker could be killed"
fi
same "$temp/plain" "$temp/killed" "the counts without and with a killed worker"
if [ "$check" = yes ]; then
    count_independently "$@" >"$temp/independent"
    same "$temp/independent" "$temp/plain" "an independent count and the plain one"
    same "$temp/independent" "$temp/killed" "an independent count and the killed one"
fi
