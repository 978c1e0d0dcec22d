// Leaves traces that outlive a library, if nobody takes them away: a fork handler, and a key that this thread has a value of.
#include <pthread.h>
#include <stdlib.h>

static void at_fork(void) { free(malloc(1)); }
static void at_thread_end(void *value) { free(value); }

__attribute__((constructor)) static void arrive(void) {
  static pthread_key_t key;
  if (pthread_atfork(at_fork, at_fork, at_fork) || pthread_key_create(&key, at_thread_end) ||
      pthread_setspecific(key, malloc(1)))
    abort();
}
