#include "site.h"

#include <string.h>

enum { MOST_OPEN = 64, MOMENT_MS = 2 };

// A moment has passed: the oldest request is answered.
HARK_MESSAGE(site_moment)

struct open_get {
    hark_promise promise;
    const struct site_page *page; // NULL: there is none
};

typedef struct {
    enum site_kind kind;
    const struct site_page *pages;
    struct open_get open[MOST_OPEN]; // a ring
    uint32_t first, count;
    uint32_t gets, most_at_once;
} site;

static const struct site_page *
find_page(const site *self, hark_str path)
{
    const struct site_page *page = self->pages;

    while (page->path != NULL && !hark_str_equal(hark_str_of(page->path), path)) {
        page++;
    }
    return page->path != NULL ? page : NULL;
}

HARK_ON(site, http_get) {
    self->gets++;
    if (self->count == MOST_OPEN || (self->kind == SITE_BUSY && self->gets % 3 == 0)) {
        hark_refuse(ctx, HARK_ELIMIT, "503 busy");
        return;
    }
    struct open_get *get = &self->open[(self->first + self->count++) % MOST_OPEN];
    get->promise = hark_defer(ctx);
    get->page = find_page(self, msg->path);
    if (self->count > self->most_at_once) {
        self->most_at_once = self->count;
    }
    if (self->kind == SITE_DEAD) {
        self->count = 0; // it forgets what it was asked
    } else {
        hark_send_after(ctx, MOMENT_MS, hark_self(ctx), site_moment);
    }
}

static void
answer(hark_ctx *ctx, const struct open_get *get)
{
    hark_str links[4];
    size_t count = 0;

    while (get->page != NULL && count < 4 && get->page->links[count] != NULL) {
        links[count] = hark_str_of(get->page->links[count]);
        count++;
    }
    // If nobody waits any more, nothing is sent.
    (void)hark_fulfil(ctx, get->promise, http_page,
                      .status = get->page != NULL ? 200 : 404,
                      .links = {.items = links, .count = count});
}

HARK_ON(site, site_moment) {
    if (self->count > 0) {
        answer(ctx, &self->open[self->first]);
        self->first = (self->first + 1) % MOST_OPEN;
        self->count--;
    }
}

HARK_ON(site, site_counts_read) {
    hark_reply(ctx, site_counts, .gets = self->gets,
               .most_at_once = self->most_at_once);
}

HARK_ACTOR(site, http_get, site_moment, site_counts_read)

hark_ref
site_spawn(hark_ctx *ctx, enum site_kind kind, const struct site_page *pages)
{
    return hark_spawn(ctx, site, .kind = kind, .pages = pages);
}
