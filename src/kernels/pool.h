/* What the engine alone calls of the pool of threads, and what pool.c calls of openmp.c. */
#ifndef RC_POOL_H
#define RC_POOL_H

/* How many threads calls from this thread use at most, whatever the setting is; returns what it was before. */
int rc_set_most_threads(int n);

/* Whether torch is in the process and the OpenMP threads of the calling thread are running, so that a call should use
 * them; from one thread at a time, as the next one. */
int rc_openmp_is_awake(void);

/* Runs f on all of them, as many as torch is set to use; only after rc_openmp_is_awake. */
void rc_openmp_run(void (*f)(int thread, int threads));

#endif
