/* Counts the physical addresses that `perf script --itrace=i1i -F phys_addr` prints, one a line, per page: the old
 * chain at its best. */
#include "pages.h"

static inline void line(const char *begin, const char *end)
{
    uint64_t address = number_before(begin, end);
    if (address)
        count_page(address >> 12);
}

int main(void)
{
    table = room(UINT64_C(1) << bits, sizeof *table);
    each_line(line);
    print_pages();
}
