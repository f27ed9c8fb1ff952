/* The OpenMP threads of torch, see openmp.c; for pool.c, which calls these functions from one thread at a time. */
#ifndef RC_OPENMP_H
#define RC_OPENMP_H

/* Whether torch is in the process and the OpenMP threads of the calling thread are running, so that a call should use
 * them. */
int rc_openmp_is_awake(void);

/* Runs f on all of them, as many as torch is set to use; only after rc_openmp_is_awake. */
void rc_openmp_run(void (*f)(int thread, int threads));

#endif
