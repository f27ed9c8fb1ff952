# Changes of weights and settings that must happen as a whole. Python runs signal handlers, which may raise, between two
# of its instructions. Compiled code has no such places, so a change that is made here is never left half done.


cdef class _Working:
    """The working copies of one module's parameters, for the `writable` blocks that one thread has open on it.

    The copies lie in the engine's memory and are copied back by address, so that it does not matter if a user changes
    the shape or type of the arrays that were handed out.
    """
    cdef object module          # kept alive, since it is looked up by its id
    cdef list arrays
    cdef list addresses
    cdef int blocks

    def __cinit__(self, module):
        cdef dict own = module._parameters
        self.module, self.blocks = module, 0
        self.arrays = carve("gradients of parameters", module.dtype, tuple([array.shape for array in own.values()]))
        self.addresses = [address_of(array) for array in self.arrays]
        for array, address in zip(own.values(), self.addresses):
            copy_values(address, array)

    cdef int take_over(self) except -1:
        count_version(self.module)
        for array, address in zip(self.module._parameters.values(), self.addresses):
            memcpy(<char *>address_of(array), <char *><size_t>address, <size_t>array.nbytes)
        return 0


cdef class OpenBlock:
    """The block of `Module.writable`.

    Parameters
    ----------
    lock : context manager
        Held while arrays are copied.
    owned : list of (module, {name here: its own name})
    threads : threading.local
        Its attribute `of` is a dict of the `_Working` of each module that a thread has open, by the module's id.
    mapping : callable
        Makes what the block hands out from {name: array}.
    """
    cdef object lock, threads, mapping
    cdef list owned
    cdef dict open
    cdef list workings          # one for each module, while the block is open

    def __init__(self, lock, list owned, threads, mapping):
        self.lock, self.owned, self.threads, self.mapping, self.workings = lock, owned, threads, mapping, None

    def __enter__(self):
        cdef _Working working
        cdef list workings = []
        cdef dict opened = {}
        if self.workings is not None:
            raise RuntimeError("writable: got a block that is open, expected a new one: call writable() again")
        self.open = self.threads.of
        with self.lock:
            for owner, names in self.owned:
                working = self.open.get(id(owner)) or _Working(owner)
                workings.append(working)
                arrays = dict(zip(owner._parameters, working.arrays))
                opened.update({name: arrays[own].view() for name, own in names.items()})
        handed_out = self.mapping(opened)
        for working in workings:            # from here on it is open
            working.blocks += 1
            self.open[id(working.module)] = working
        self.workings = workings
        return handed_out

    def __exit__(self, *error):
        cdef _Working working
        try:
            with self.lock:
                for working in self.workings:
                    working.take_over()
        finally:
            for working in self.workings:
                working.blocks -= 1
                if working.blocks == 0:
                    self.open.pop(id(working.module), None)
            self.workings = None


def replace_values(lock, list owned, dict values, dict open):
    """Give all modules, and the working copies that are open, new values: contiguous arrays of their types, by name."""
    cdef _Working working
    with lock:
        for owner, names in owned:
            working = open.get(id(owner))
            count_version(owner)
            for place, (own, array) in enumerate(owner._parameters.items()):
                (name,) = [name for name, inner in names.items() if inner == own]
                copy_values(address_of(array), values[name])
                if working is not None:
                    copy_values(working.addresses[place], values[name])


cdef size_t address_of(array) except? 0:
    cdef Array a
    take(array, &a, 0)
    return <size_t>a.p


cdef int copy_values(size_t address, array) except -1:
    """Copy a contiguous array to where another one of its size lies."""
    memcpy(<char *>address, <char *>address_of(array), <size_t>array.nbytes)
    return 0


cdef int count_version(module) except -1:
    cdef dict state = module.__dict__
    state["_version"] = state["_version"] + 1
    return 0


def count_versions(list owned):
    """A new version of every module in a list of (module, names)."""
    for module, _ in owned:
        count_version(module)


cdef class Threads:
    """A block in which calls use at most so many threads."""
    cdef int n
    cdef list before            # the settings to return to, one for each open block

    def __init__(self, int n):
        self.n, self.before = n, []

    def __enter__(self):
        self.before.append(rnncore_get_num_threads())
        rnncore_set_num_threads(self.n)

    def __exit__(self, *error):
        rnncore_set_num_threads(self.before.pop())


def set_most_threads(int n):
    """Let calls from this thread use at most so many threads, whatever the setting; returns what it was before."""
    return rc_set_most_threads(n)


def same_bytes(list a, list b):
    """Whether contiguous arrays hold the same bytes, pair by pair: −0 differs from 0, and NaN equals itself."""
    cdef size_t p, q, size
    cdef bint same
    for one, other in zip(a, b, strict=True):
        p, q, size = address_of(one), address_of(other), one.nbytes
        if size != <size_t>other.nbytes:
            return False
        with nogil:
            same = memcmp(<char *>p, <char *>q, size) == 0
        if not same:
            return False
    return True
