// The web of this example: sites that are actors, with a few pages each.

#ifndef LINKCHECK_SITE_H
#define LINKCHECK_SITE_H

#include <hark/hark.h>

HARK_MESSAGE(http_get, (str, path))
HARK_MESSAGE(http_page, (u32, status), (list, str, links))

// What a site has seen: the answer to site_counts_read.
HARK_MESSAGE(site_counts_read)
HARK_MESSAGE(site_counts, (u32, gets), (u32, most_at_once))

enum site_kind {
    SITE_STEADY, // answers after a moment
    SITE_BUSY,   // refuses every third request
    SITE_DEAD,   // never answers
};

// A page and what it links to: "site/path". Ends with a NULL.
struct site_page {
    const char *path;
    const char *links[4];
};

// Gives the site with these pages, which end with one without a path. Static data.
hark_ref site_spawn(hark_ctx *ctx, enum site_kind kind, const struct site_page *pages);

#endif // LINKCHECK_SITE_H
