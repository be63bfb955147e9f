// A link checker: goes from page to page over three sites, one of which is busy and one
// dead, and tells which links are broken.
//
// No more than AT_ONCE pages are fetched at a time, no more than AT_A_SITE of one site,
// and never faster than a rate. A fetch has a deadline, and is tried again after a
// pause that grows; a site that does not answer is not asked any more for a while (its
// breaker is open).

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "site.h"

enum {
    AT_ONCE = 8,
    AT_A_SITE = 2,
    FETCH_MS = 100, // of one attempt
    CHECK_MS = HARK_SECONDS(20),
    MOST_LINKS = 64,
    LINK_SIZE = 64,
};

static const struct site_page steady_pages[] = {
    {"/", {"steady/a", "steady/b", "busy/", "dead/"}},
    {"/a", {"steady/b", "steady/missing"}},
    {"/b", {"steady/", "busy/1"}},
    {NULL, {NULL}},
};
static const struct site_page busy_pages[] = {
    {"/", {"busy/1", "busy/2", "busy/3"}},
    {"/1", {"steady/a"}},
    {"/2", {"busy/gone", "dead/x"}},
    {"/3", {"steady/"}},
    {NULL, {NULL}},
};
static const struct site_page dead_pages[] = {{NULL, {NULL}}};

struct host {
    const char *name;
    enum site_kind kind;
    const struct site_page *pages;
    hark_ref site, permits, breaker;
};

static struct host hosts[] = {
    {"steady", SITE_STEADY, steady_pages, {0, 0}, {0, 0}, {0, 0}},
    {"busy", SITE_BUSY, busy_pages, {0, 0}, {0, 0}, {0, 0}},
    {"dead", SITE_DEAD, dead_pages, {0, 0}, {0, 0}, {0, 0}},
};
enum { HOSTS = sizeof hosts / sizeof hosts[0] };

struct checker {
    hark_ref rate;
    char links[MOST_LINKS][LINK_SIZE]; // in order of discovery
    size_t known, checked;
    unsigned good, broken, unreachable;
};

// One attempt, or many, at one link.
struct fetch {
    const struct host *host;
    hark_ref rate;
    char path[LINK_SIZE];
};

static const struct host *
host_of(const char *link)
{
    size_t length = strcspn(link, "/");

    for (size_t i = 0; i < HOSTS; i++) {
        if (strlen(hosts[i].name) == length
            && strncmp(hosts[i].name, link, length) == 0) {
            return &hosts[i];
        }
    }
    return NULL;
}

// ---- one link ----

// Inside, with a permit of its site.
HARK_JOB(get_page)
{
    const struct fetch *fetch = arg;

    hark_result_future(ctx, hark_ask_through_within(ctx, FETCH_MS, fetch->host->breaker,
                                                    http_get,
                                                    .path = hark_str_of(fetch->path)));
}

HARK_MAP(enter_site, hark_unit)
{
    struct fetch *fetch = arg;

    hark_result_future(ctx,
                       hark_with_permit(ctx, fetch->host->permits, 1, get_page, fetch));
}

HARK_JOB(try_fetch)
{
    struct fetch *fetch = arg;

    hark_result_future(
        ctx, hark_map(ctx, hark_rate_wait(ctx, fetch->rate, 1), enter_site, fetch));
}

// The outermost: its argument outlives all attempts.
HARK_FINALLY_WITH(end_fetch, free)
{
}

HARK_JOB(check_link)
{
    const struct checker *checker = arg;
    const char *link = checker->links[checker->checked + index];
    struct fetch *fetch = malloc(sizeof *fetch);

    if (fetch == NULL) {
        hark_fail_with(ctx, HARK_ENOMEM, "no memory");
        return;
    }
    *fetch = (struct fetch){.host = host_of(link), .rate = checker->rate};
    snprintf(fetch->path, sizeof fetch->path, "%s", strchr(link, '/'));
    hark_future f = hark_retry(ctx, try_fetch, fetch,
                               &(hark_retry_options){.attempts = 4, .delay_ms = 10});
    hark_result_future(ctx, hark_finally(ctx, f, end_fetch, fetch));
}

// ---- all of them ----

static void
discover(struct checker *checker, const char *link)
{
    for (size_t i = 0; i < checker->known; i++) {
        if (strcmp(checker->links[i], link) == 0) {
            return;
        }
    }
    if (checker->known < MOST_LINKS && host_of(link) != NULL) {
        snprintf(checker->links[checker->known++], LINK_SIZE, "%s", link);
    }
}

static void
note(hark_ctx *me, struct checker *checker, const char *link, hark_future end)
{
    const http_page *page = hark_future_get(me, end, http_page);

    if (page == NULL) {
        checker->unreachable++;
        printf("unreachable: %s\n", link);
    } else if (page->status != 200) {
        checker->broken++;
        printf("broken: %s (%" PRIu32 ")\n", link, page->status);
    } else {
        checker->good++;
        for (size_t i = 0; i < page->links.count; i++) {
            discover(checker, page->links.items[i].ptr);
        }
    }
}

// Checks what is known and not checked yet. False: that took too long.
static bool
check_known(hark_ctx *me, struct checker *checker)
{
    size_t count = checker->known - checker->checked;
    hark_future each =
        hark_map_each(me, count, check_link, checker,
                      &(hark_each_options){.at_most = AT_ONCE, .keep_going = true});
    // Beside it: its members are to be read, and a timeout would keep them to itself.
    hark_future alarm = hark_delay(me, CHECK_MS);

    while (!hark_future_done(me, each) && !hark_future_done(me, alarm)) {
        hark_message_free(me, hark_receive(me, 5));
    }
    bool is_done = hark_future_done(me, each) && hark_future_error(me, each) == NULL;
    for (size_t i = 0; is_done && i < count; i++) {
        note(me, checker, checker->links[checker->checked + i],
             hark_future_member(me, each, i));
    }
    checker->checked += count;
    hark_future_drop(me, alarm);
    hark_future_drop(me, each); // what is still open is cancelled, down to the sites
    return is_done;
}

static bool
open_hosts(hark_ctx *me)
{
    for (size_t i = 0; i < HOSTS; i++) {
        struct host *host = &hosts[i];

        host->site = site_spawn(me, host->kind, host->pages);
        host->permits = hark_semaphore(
            me, &(hark_semaphore_options){.name = host->name, .permits = AT_A_SITE});
        host->breaker =
            hark_breaker(me, &(hark_breaker_options){.name = host->name,
                                                     .target = host->site,
                                                     .window = 8,
                                                     .failures = 4,
                                                     .open_ms = HARK_SECONDS(60)});
        if (hark_ref_is_null(host->site) || hark_ref_is_null(host->permits)
            || hark_ref_is_null(host->breaker)) {
            return false;
        }
    }
    return true;
}

static void
tell_of_hosts(hark_ctx *me)
{
    for (size_t i = 0; i < HOSTS; i++) {
        hark_future f = hark_ask(me, hosts[i].site, site_counts_read);
        const site_counts *counts = hark_await(me, f, site_counts);

        if (counts != NULL) {
            printf("%s: %" PRIu32 " requests, at most %" PRIu32 " at once\n",
                   hosts[i].name, counts->gets, counts->most_at_once);
        }
        hark_future_drop(me, f);
    }
}

int
main(void)
{
    hark_system *system = hark_start(NULL);
    hark_ctx *me = hark_attach(system);
    struct checker checker = {.known = 0};
    bool is_done = me != NULL && open_hosts(me);

    if (is_done) {
        checker.rate = hark_rate(
            me, &(hark_rate_options){.name = "web", .per_second = 500, .burst = 10});
        discover(&checker, "steady/");
    }
    while (is_done && checker.checked < checker.known) {
        is_done = check_known(me, &checker);
    }
    if (is_done) {
        printf("%zu links: %u good, %u broken, %u unreachable\n", checker.checked,
               checker.good, checker.broken, checker.unreachable);
        tell_of_hosts(me);
    } else {
        fprintf(stderr, "linkcheck: %s\n", hark_error_of(me)->text);
    }
    hark_err err = hark_stop(system, HARK_SECONDS(5));
    return is_done && err == HARK_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
