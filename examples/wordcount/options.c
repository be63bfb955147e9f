#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "children.h"

static char *default_paths[] = {"/usr/share/common-licenses", "/usr/share/doc"};

static const char usage[] =
    "usage: wordcount [OPTION...] [PATH...]\n"
    "Counts the words of files, and of all files below directories, with several\n"
    "processes. Without a PATH: /usr/share/common-licenses and /usr/share/doc.\n"
    "\n"
    "  --workers N           worker processes (3)\n"
    "  --chunk BYTES         text in one message, about (1048576)\n"
    "  --in-flight N         messages under way at each worker (4)\n"
    "  --top N               most frequent words to print (20)\n"
    "  --all FILE            write every word there, as \"count word\" lines; with - to\n"
    "                        stdout, and the summary to stderr\n"
    "  --kill-one            kill one worker when a third of the text is counted\n"
    "  --transport tcp|ipc   how the processes reach each other (tcp)\n"
    "  --list-files          print which files would be counted, and stop\n"
    "  --null                end their names with NUL, not a newline\n"
    "  --help                print this\n"
    "\n"
    "In a directory, *.gz and files with a NUL in the first 8 KiB are skipped.\n";

static const struct option table[] = {
    {"workers", required_argument, NULL, 'w'},
    {"chunk", required_argument, NULL, 'c'},
    {"in-flight", required_argument, NULL, 'i'},
    {"top", required_argument, NULL, 't'},
    {"all", required_argument, NULL, 'a'},
    {"kill-one", no_argument, NULL, 'k'},
    {"transport", required_argument, NULL, 'T'},
    {"list-files", no_argument, NULL, 'l'},
    {"null", no_argument, NULL, '0'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static unsigned long
number(const char *option, const char *text, unsigned long least, unsigned long most)
{
    char *end = NULL;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);

    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < least
        || value > most) {
        fprintf(stderr,
                "wordcount: --%s: expected a number from %lu to %lu, not \"%s\"\n",
                option, least, most, text);
        exit(2);
    }
    return value;
}

static bool
is_ipc(const char *transport)
{
    if (strcmp(transport, "tcp") != 0 && strcmp(transport, "ipc") != 0) {
        fprintf(stderr, "wordcount: --transport: expected tcp or ipc, not \"%s\"\n",
                transport);
        exit(2);
    }
    return strcmp(transport, "ipc") == 0;
}

static void
set(struct options *options, int option)
{
    switch (option) {
    case 'w':
        options->workers = (uint32_t)number("workers", optarg, 1, MOST_WORKERS);
        break;
    case 'c':
        options->chunk_bytes = number("chunk", optarg, 1, 16UL << 20);
        break;
    case 'i':
        options->in_flight = (uint32_t)number("in-flight", optarg, 1, 64);
        break;
    case 't':
        options->top = number("top", optarg, 0, UINT32_MAX);
        break;
    case 'a':
        options->all = optarg;
        break;
    case 'k':
        options->kills_one = true;
        break;
    case 'T':
        options->over_ipc = is_ipc(optarg);
        break;
    case 'l':
        options->lists_files = true;
        break;
    case '0':
        options->lists_with_nul = true;
        break;
    case 'h':
        fputs(usage, stdout);
        exit(0);
    default:
        fputs("Try 'wordcount --help'.\n", stderr);
        exit(2);
    }
}

void
options_parse(int argc, char **argv, struct options *out_options)
{
    int option = 0;

    *out_options = (struct options){
        .workers = 3,
        .chunk_bytes = 1 << 20,
        .in_flight = 4,
        .top = 20,
        .paths = default_paths,
        .path_count = sizeof default_paths / sizeof default_paths[0],
    };
    while ((option = getopt_long(argc, argv, "", table, NULL)) != -1) {
        set(out_options, option);
    }
    if (optind < argc) {
        out_options->paths = argv + optind;
        out_options->path_count = (size_t)(argc - optind);
    }
}
