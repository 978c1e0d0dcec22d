// A library with more thread-local data than threads get at their start, as OpenBLAS and others have.
#include <pthread.h>
#include <stddef.h>

static __thread char large[20000];
static void *touch(void *unused) {
  large[100]++;
  return unused;
}

int churn(int threads) {
  for (int i = 0; i < threads; i++) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, touch, NULL)) return -1;
    pthread_join(thread, NULL);
  }
  return threads;
}
