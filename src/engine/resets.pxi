# Resets inside a sequence: before some steps the state of a row is zero, and no gradient crosses there.


cdef Resets take_resets(object resets, idx first_step) except *:
    """The resets of a pass (a `resets.Resets` or None), from `first_step` on."""
    cdef Resets r
    cdef Array a
    r.starts, r.rows, r.next_net = NULL, NULL, 0
    if resets is not None:
        take(resets.starts, &a, 0)
        r.starts, r.next_net = <const idx *>a.p + first_step, a.last
        take(resets.rows, &a, 0)
        r.rows = <const idx *>a.p
    return r


cdef inline Resets resets_of_net(Resets of_first, idx net) noexcept:
    """Of resets with an axis of nets, those of one net; `take_resets` gives those of the first."""
    if of_first.starts != NULL:
        of_first.starts += net * of_first.next_net
    return of_first


cdef inline bint any_reset(const Resets *r, idx t) noexcept nogil:
    """Whether any row is reset before step t."""
    return r.starts != NULL and r.starts[t] < r.starts[t + 1]


cdef void reset_states(Forward *j, idx t, char *h, const Share *mine) noexcept nogil:
    """Set this thread's part of the states to zero that are reset before step t; h is the one before the step."""
    cdef idx n, row
    for n in range(j.resets.starts[t], j.resets.starts[t + 1]):
        row = j.resets.rows[n]
        if mine.row0 <= row < mine.row1:
            memset(h + (row * j.P + mine.h0) * j.item, 0, (mine.h1 - mine.h0) * j.item)
            if j.c != NULL:
                memset(j.c + (row * j.H + mine.unit0) * j.item, 0, (mine.unit1 - mine.unit0) * j.item)


cdef void mark_resets(const Resets *r, idx t, unsigned char *marks, bint mark) noexcept nogil:
    """Set or clear the marks of the rows that are reset before step t."""
    cdef idx n
    for n in range(r.starts[t], r.starts[t + 1]):
        marks[r.rows[n]] = mark


cdef void cut_gradients(Backward *j, const rc_step *step, idx row1, const Share *mine) noexcept nogil:
    """After a step, set this thread's part of the carried gradients to zero of rows that were reset before the step."""
    cdef idx row, of_batch
    for row in range(mine.row0, row1):
        of_batch = row % j.B
        if step.was_reset[j.tape_row[of_batch] if j.tape_row != NULL else of_batch]:
            memset(j.dh + (row * j.P + mine.h0) * j.item, 0, (mine.h1 - mine.h0) * j.item)
            if j.dc != NULL:
                memset(j.dc + (row * j.H + mine.unit0) * j.item, 0, (mine.unit1 - mine.unit0) * j.item)


cdef void pack_resets(const Backward *j, idx low, idx high, idx t0, idx t1) noexcept nogil:
    """Of the steps t0 .. t1 in the chunk low .. high, pack zeros as the h before the step of rows that are reset."""
    cdef idx t, n, row, at
    for t in range(t0, t1):
        for n in range(j.resets.starts[t], j.resets.starts[t + 1]):
            row = j.resets.rows[n]
            at = (rows_between(&j.rows, low, t) + row if j.reverse else
                  rows_between(&j.rows, t + 1, high) + active_rows(&j.rows, t) - 1 - row)
            j.k.pack_rows(&j.packed_h, at, 1, j.zeros, 0)
