/* Makes a disk slow: preloaded, it delays fsync and fdatasync for as long as the file DISK_DELAY_FILE says, in
 * milliseconds. The file is read again every 10 ms, so that a disk that hangs can be freed at any moment. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long delay_ms(void) {
  const char *path = getenv("DISK_DELAY_FILE");
  FILE *file = path ? fopen(path, "r") : NULL;
  long delay = 0;
  if (!file) return 0;
  if (fscanf(file, "%ld", &delay) != 1) delay = 0;
  fclose(file);
  return delay;
}

static void wait_for_disk(void) {
  for (long waited = 0; waited < delay_ms(); waited += 10) {
    struct timespec pause = {0, 10 * 1000 * 1000};
    nanosleep(&pause, NULL);
  }
}

int fsync(int file) {
  wait_for_disk();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(file);
}

int fdatasync(int file) {
  wait_for_disk();
  return ((int (*)(int))dlsym(RTLD_NEXT, "fdatasync"))(file);
}
