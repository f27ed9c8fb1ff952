# What only the tests call.


def give_way(long long ns):
    """Run calls on one thread for so many ns more (fewer if negative); returns for how many in all."""
    return rc_pool_give_way(ns)


cdef void count_thread(void *context, int thread, int threads) noexcept nogil:
    if thread == 0:
        (<int *>context)[0] = threads


def threads_of_a_call():
    """How many threads a call uses now, of as many as may be used."""
    cdef int found = 0
    rc_pool_run(count_thread, &found, rnncore_get_num_threads())
    return found
