/*
 * Fills a directory with the parts. All are unpacked and checked under temporary names before the first gets
 * its own, so a start that was killed, or a file that is damaged, leaves nothing that another start could
 * run.
 */
#include <dirent.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>

enum { LOCK_TRIES = 1200 };
static const struct timespec LOCK_PAUSE = { 0, 50 * 1000 * 1000 }; /* 1,200 times: a minute */
static const size_t SPARE_BYTES = 1 << 20;

static bool is_whole(int dir, const struct part *part) {
  struct stat status;
  return fstatat(dir, part->name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(status.st_mode) &&
         (size_t)status.st_size == part->raw && (status.st_uid == 0 || status.st_uid == geteuid()) &&
         (status.st_mode & 0522) == 0500; /* a file system without modes may add others */
}

static size_t missing_bytes(int dir) {
  size_t sum = 0;
  for (int i = 0; i < part_count; i++)
    if (!is_whole(dir, &parts[i])) sum += parts[i].raw;
  return sum;
}

/* The temporary name, ours alone: process ids are not unique where containers share a directory. */
static const char *staged_name(const struct part *part) {
  static char name[160];
  static struct timespec begun;
  if (begun.tv_sec == 0) clock_gettime(CLOCK_REALTIME, &begun);
  snprintf(name, sizeof name, ".new.%s.%d.%lld.%ld", part->name, (int)getpid(), (long long)begun.tv_sec,
           begun.tv_nsec);
  return name;
}

static enum outcome stage(int dir, const struct part *part) {
  int file = openat(dir, staged_name(part), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return NOT_WRITTEN;
  enum outcome outcome = unpack(part, file);
  /* Without the fdatasync a power loss may leave zeros of the right length under the final name. */
  if (outcome == UNPACKED && (fchmod(file, 0555) != 0 || fdatasync(file) != 0)) outcome = NOT_WRITTEN;
  int error = errno;
  close(file);
  errno = error;
  return outcome;
}

/* Leaves the directory as it was found; what others have in it stays. */
static void discard(int dir, const char *path) {
  int error = errno;
  for (int i = 0; i < part_count; i++) unlinkat(dir, staged_name(&parts[i]), 0);
  rmdir(path);
  errno = error;
}

/* Removes what starts that were killed have left; only for the one who holds the lock. */
static void tidy(int dir) {
  DIR *list = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (struct dirent *entry; list && (entry = readdir(list));)
    if (strncmp(entry->d_name, ".new.", 5) == 0) unlinkat(dir, entry->d_name, 0);
  if (list) closedir(list);
}

/* Makes all parts of `dir` whole. One start does it, the others wait; without locks each does it itself. */
static bool fill(int dir, const char *path) {
  struct statvfs space;
  int tries = 0;
  while (missing_bytes(dir) > 0 && flock(dir, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
         tries++ < LOCK_TRIES)
    nanosleep(&LOCK_PAUSE, NULL);
  size_t needed = missing_bytes(dir);
  if (needed == 0) return true;
  if (flock(dir, LOCK_EX | LOCK_NB) == 0) tidy(dir);
  if (!is_launcher_whole()) {
    discard(dir, path);
    damaged_part(launcher.name);
  }
  if (fstatvfs(dir, &space) == 0 && (uint64_t)space.f_bavail * space.f_frsize < needed + SPARE_BYTES) {
    errno = ENOSPC;
    discard(dir, path);
    return refuse(path, "not room enough");
  }
  bool is_missing[MAX_PARTS];
  for (int i = 0; i < part_count; i++) {
    is_missing[i] = !is_whole(dir, &parts[i]);
    enum outcome outcome = is_missing[i] ? stage(dir, &parts[i]) : UNPACKED;
    if (outcome == UNPACKED) continue;
    discard(dir, path);
    if (outcome == NOT_WRITTEN) return refuse(path, strerror(errno));
    damaged_part(parts[i].name);
  }
  for (int i = 0; i < part_count; i++)
    if (is_missing[i] && renameat(dir, staged_name(&parts[i]), dir, parts[i].name) != 0) {
      discard(dir, path);
      return refuse(path, strerror(errno));
    }
  return true;
}
