// An object of a namespace: what the tests want to know of, or done in there.
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <grp.h>
#include <malloc.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <threads.h>
#include <unistd.h>

void *address_of(const char *name) { return dlsym(RTLD_DEFAULT, name); }
long namespace_of(void *handle) {
  Lmid_t id = -1;
  dlinfo(handle, RTLD_DI_LMID, &id);
  return id;
}

int is_alpha(int character) { return isalpha(character) != 0; }
const char *get_env(const char *name) { return getenv(name); }
int set_env(const char *name, const char *value) { return setenv(name, value, 1); }
size_t usable_size(void) {
  void *block = malloc(100);
  size_t size = malloc_usable_size(block);
  free(block);
  return size;
}

void *open_null(void) { return dlopen(NULL, RTLD_NOW); }
void *open_global(const char *name) { return dlopen(name, RTLD_NOW | RTLD_GLOBAL); }
void *symbol_of(void *handle, const char *name) { return dlsym(handle, name); }
// Opened while the namespace is loaded, when the test cannot have done anything yet.
void *early_null, *early_global;
__attribute__((constructor)) static void early(void) {
  early_null = dlopen(NULL, RTLD_NOW);
  early_global = dlopen("libm.so.6", RTLD_NOW | RTLD_GLOBAL);
}

int make_key(void (*destructor)(void *)) {
  pthread_key_t key;
  return pthread_key_create(&key, destructor) ? -1 : (int)key;
}
int set_key(unsigned key, void *value) { return pthread_setspecific(key, value); }
void *get_key(unsigned key) { return pthread_getspecific(key); }

static void *call(void *function) {
  ((void (*)(void))function)();
  return function;
}
int on_thread(void (*function)(void)) {
  pthread_t thread;
  void *result = NULL;
  if (pthread_create(&thread, NULL, call, function)) return -1;
  return pthread_join(thread, &result) == 0 && result == (void *)function ? 0 : -2;
}

// What compilers call for thread-local variables with destructors.
extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;
static void *register_destructor(void *destructor) {
  __cxa_thread_atexit_impl((void (*)(void *))destructor, (void *)5, &__dso_handle);
  return NULL;
}
int thread_with_destructor(void (*destructor)(void *)) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, register_destructor, destructor)) return -1;
  return pthread_join(thread, NULL);
}

static int call11(void *function) {
  ((void (*)(void))function)();
  return isalpha('x') ? 11 : 0;
}
int on_c11_thread(void (*function)(void)) {
  thrd_t thread;
  int result = -1;
  if (thrd_create(&thread, call11, function) != thrd_success) return -1;
  return thrd_join(thread, &result) == thrd_success ? result : -2;
}

static void *leave(void *value) { pthread_exit(value); }
void *left_by_exit(void *value) {
  pthread_t thread;
  void *result = NULL;
  if (pthread_create(&thread, NULL, leave, value)) return NULL;
  pthread_join(thread, &result);
  return result;
}
static int cleaned;
static void clean(void *by) { cleaned += *(int *)by; }
static void *wait_for_ever(void *barrier) {
  int one = 1;
  pthread_cleanup_push(clean, &one);
  pthread_barrier_wait(barrier);
  for (;;) pause();
  pthread_cleanup_pop(0);
  return NULL;
}
int cancelled(void) {
  pthread_barrier_t barrier;
  pthread_t thread;
  void *result = NULL;
  pthread_barrier_init(&barrier, NULL, 2);
  if (pthread_create(&thread, NULL, wait_for_ever, &barrier)) return -1;
  pthread_barrier_wait(&barrier);
  pthread_cancel(thread);
  pthread_join(thread, &result);
  return result == PTHREAD_CANCELED ? cleaned : -2;
}

int too_many_groups(void) {
  errno = 0;
  return setgroups(1 << 30, NULL) == -1 ? errno : 0;
}
int change_ids(void) {
  errno = 0;
  return setegid(getegid()) || initgroups("root", getegid()) ? errno : 0;
}

static int prepared, in_parent, in_child;
static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }
int watch_forks(void) { return pthread_atfork(prepare, parent, child); }
int forks_seen(void) { return prepared == in_parent ? prepared : -1; }
// A forked child that allocates, makes a thread and ends by exit(): its status.
static void *allocate(void *unused) {
  (void)unused;
  free(malloc(1000));
  return NULL;
}
int forked_child_status(void) {
  pid_t child = fork();
  if (child == 0) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, allocate, NULL) || pthread_join(thread, NULL)) exit(1);
    exit(40 + in_child);
  }
  int status = -1;
  return waitpid(child, &status, 0) == child ? status : -1;
}

int child_with_terminal_status(void) {
  int terminal, status = -1;
  errno = 0;
  pid_t child = forkpty(&terminal, NULL, NULL, NULL);
  if (child == -1) return -errno;
  if (child == 0) _exit(40 + in_child);
  if (waitpid(child, &status, 0) != child) return -1;
  close(terminal);
  return status;
}

int leave_unflushed(const char *path) {
  FILE *file = fopen(path, "w");
  return file ? fputs("buffered", file) : -1;
}
