// A bank: accounts and a teller are actors. Nothing is locked, and no money is lost.
//
//     bank                   some transfers, and the sum at the end
//     bank serve ENDPOINT    one account named "account", until stdin closes

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bank.h"

// The accounts that the demo looks at.
struct book {
    hark_ref ann;
    hark_ref bob;
    hark_ref teller;
};

static void
print_error(hark_ctx *me)
{
    char text[2048];

    hark_error_print(me, hark_error_of(me), text, sizeof text);
    fprintf(stderr, "bank: %s\n", text);
}

// How much is in an account; -1 if it does not say.
static int64_t
look(hark_ctx *me, hark_ref whose)
{
    hark_future f = hark_ask(me, whose, get_balance);
    const balance *b = hark_await(me, f, balance);
    int64_t amount = -1;

    if (b != NULL) {
        amount = b->amount;
    } else {
        print_error(me);
    }
    hark_future_drop(me, f);
    return amount;
}

// Transfers from ann, and prints what became of it.
static void
show_transfer(hark_ctx *me, const struct book *book, hark_ref to, const char *name,
              int64_t amount)
{
    hark_future f = hark_ask(me, book->teller, transfer, .from = book->ann, .to = to,
                             .amount = amount);
    const transferred *t = hark_await(me, f, transferred);

    printf("ann -> %s %" PRId64 ": ", name, amount);
    if (t != NULL) {
        printf("ann has %" PRId64 ", %s has %" PRId64 "\n", t->left, name, t->there);
    } else {
        printf("refused: %s\n", hark_error_of(me)->text);
    }
    hark_future_drop(me, f);
}

// Many transfers at once, both ways.
static void
show_many(hark_ctx *me, const struct book *book)
{
    enum { COUNT = 200 };
    hark_future f[COUNT];
    int moved = 0;

    for (int i = 0; i < COUNT; i++) {
        bool there = i % 2 == 0;

        f[i] =
            hark_ask(me, book->teller, transfer, .from = there ? book->ann : book->bob,
                     .to = there ? book->bob : book->ann, .amount = 1 + i % 7);
    }
    for (int i = 0; i < COUNT; i++) {
        moved += hark_await(me, f[i], transferred) != NULL;
        hark_future_drop(me, f[i]);
    }
    printf("ann <-> bob, %d at once: %d went through, the others were refused\n", COUNT,
           moved);
}

static int
demo(hark_ctx *me)
{
    struct book book = {account_open(me, 100), account_open(me, 20), teller_hire(me)};
    hark_ref closed = account_open(me, 0);

    hark_actor_stop(me, closed);
    puts("ann has 100, bob has 20");
    show_transfer(me, &book, book.bob, "bob", 30);
    show_transfer(me, &book, book.bob, "bob", 500);
    show_transfer(me, &book, closed, "closed account", 10); // is given back
    show_many(me, &book);

    int64_t ann = look(me, book.ann);
    int64_t bob = look(me, book.bob);
    bool is_conserved = ann >= 0 && bob >= 0 && ann + bob == 120;

    printf("together: %" PRId64 ", money is %s\n", ann + bob,
           is_conserved ? "conserved" : "NOT conserved");
    return is_conserved ? 0 : 1;
}

static int
serve(hark_ctx *me, const char *endpoint)
{
    char bound[256];
    hark_ref account = account_open(me, 0);

    if (hark_register(me, "account", account) != HARK_OK
        || hark_listen(me, endpoint, bound, sizeof bound) != HARK_OK) {
        print_error(me);
        return 1;
    }
    puts(bound);
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}

int
main(int argc, char **argv)
{
    bool serves = argc == 3 && strcmp(argv[1], "serve") == 0;

    if (!serves && argc != 1) {
        fputs("usage: bank [serve ENDPOINT]\n", stderr);
        return 2;
    }
    hark_system *system = hark_start(&(hark_options){.name = "bank"});
    hark_ctx *me = hark_attach(system);

    if (me == NULL) {
        perror("bank");
        return 1;
    }
    int status = serves ? serve(me, argv[2]) : demo(me);

    return hark_stop(system, HARK_SECONDS(5)) != HARK_OK ? 1 : status;
}
