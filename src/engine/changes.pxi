# Weights that change: what has to happen at once, whatever signals come. Handlers of signals run between two
# instructions of Python, so here, where there are none, nothing is left half done.


cdef class Working:
    """The working arrays of the blocks that one thread has open on one module.

    They lie on memory of the engine's, by whose address they are taken over: what somebody makes of the arrays' shapes
    and types does not matter.
    """
    cdef object module          # kept, since it is known by its id
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
        Its `of` is a dict with the `Working` of each module, by its id, that a thread has open.
    mapping : callable
        From {name: array} to what the block hands out.
    """
    cdef object lock, threads, mapping
    cdef list owned
    cdef dict open
    cdef list workings          # of the modules, while the block is open

    def __init__(self, lock, list owned, threads, mapping):
        self.lock, self.owned, self.threads, self.mapping, self.workings = lock, owned, threads, mapping, None

    def __enter__(self):
        cdef Working working
        cdef list workings = []
        cdef dict opened = {}
        if self.workings is not None:
            raise RuntimeError("writable: got a block that is open, expected a new one: call writable() again")
        self.open = self.threads.of
        with self.lock:
            for owner, names in self.owned:
                working = self.open.get(id(owner)) or Working(owner)
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
        cdef Working working
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
    """Give all modules new values, contiguous arrays of their types by name, and what this thread has open of them."""
    cdef Working working
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
    """A block in which calls use so many threads at most."""
    cdef int n
    cdef list before            # of the blocks that this object has open

    def __init__(self, int n):
        self.n, self.before = n, []

    def __enter__(self):
        self.before.append(rnncore_get_num_threads())
        rnncore_set_num_threads(self.n)

    def __exit__(self, *error):
        rnncore_set_num_threads(self.before.pop())
