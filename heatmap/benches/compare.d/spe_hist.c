/* Stands for the tool `spe_hist` of the kernel patches' cover letter, which was not published: counts per page the
 * lines that `perf script -F phys_addr,ip,event,pid,tid` prints:
 *
 *      4242/4242       l1d-access:            40de94     8227b443890
 *
 * It splits each line into its fields, as a tool must that knows what they mean. perf makes several samples of a
 * record (one for every event, one for "memory"), and each is a line, so the counts are too high: that is what the
 * documented chain does, and why its result is not compared with folioscope's. */
#include "pages.h"

static inline const char *past_blanks(const char *at, const char *end)
{
    while (at < end && *at == ' ')
        at++;
    return at;
}

static inline const char *past_word(const char *at, const char *end)
{
    while (at < end && *at != ' ')
        at++;
    return at;
}

static inline void line(const char *begin, const char *end)
{
    /* pid/tid, event, ip, phys_addr. */
    const char *from = begin, *to = begin;
    for (int field = 0; field < 4; field++) {
        from = past_blanks(to, end);
        to = past_word(from, end);
    }
    uint64_t address = number_before(from, to);
    if (address)
        count_page(address >> 12);
}

int main(void)
{
    table = room(UINT64_C(1) << bits, sizeof *table);
    each_line(line);
    print_pages();
}
