/*
 * A directory to unpack to. Only what nobody else could have written is executed: the directory must be ours
 * or root's and writable by no other, and so must all above it (or be sticky, as /tmp is).
 */
#include <sys/types.h>

/* Whether nobody but us and root can put something else at `path` or above it; with `below`, at what is put there. */
static bool is_ours(const char *path, bool below) {
  char above[PATH_MAX];
  struct stat status;
  snprintf(above, sizeof above, "%s", path);
  for (bool last = !below;; last = false) {
    if (lstat(above, &status) != 0) return refuse(path, strerror(errno));
    if (!S_ISDIR(status.st_mode)) return refuse(path, "not a directory");
    if (status.st_uid != 0 && status.st_uid != geteuid())
      return refuse(path, "it, or one above, is another user's");
    if ((status.st_mode & 022) && (last || !(status.st_mode & S_ISVTX)))
      return refuse(path, "others can write to it, or to one above");
    if (above[1] == '\0') return true;
    char *slash = strrchr(above, '/');
    slash[slash == above] = '\0';
  }
}

static bool is_noexec(const char *path) {
  struct statvfs flags;
  if (statvfs(path, &flags) != 0 || !(flags.f_flag & ST_NOEXEC)) return false;
  return !refuse(path, "mounted noexec");
}

/* Where a link of somebody else's leads, even to a directory of ours, is not where we were asked to write. */
static bool is_foreign_link(const char *path) {
  struct stat status;
  if (lstat(path, &status) != 0 || !S_ISLNK(status.st_mode)) return false;
  if (status.st_uid == 0 || status.st_uid == geteuid()) return false;
  return !refuse(path, "a link that another user made");
}

/* Whether a directory may be made, if it is missing: nothing of ours is left in another's home, as by sudo. */
static bool may_make(const char *path, size_t parent_length) {
  char parent[PATH_MAX], real[PATH_MAX];
  struct stat status;
  if (lstat(path, &status) == 0 || errno != ENOENT) return true;
  snprintf(parent, sizeof parent, "%.*s/", (int)parent_length, path);
  return realpath(parent, real) ? is_ours(real, true) : refuse(path, strerror(errno));
}

/* mkdir with just these rights, whatever the umask; 0 or an errno. */
static int make_directory(const char *path) {
  mode_t given = umask(077);
  int error = mkdir(path, 0700) == 0 ? 0 : errno;
  umask(given);
  return error;
}

/* Opens `base`/`name`/<digest>, made where it is missing. -1 when it will not do; `why` then says it. */
static int open_directory(const char *base, const char *name, char *path) {
  char made[PATH_MAX], real[PATH_MAX];
  if (*base && is_noexec(base)) return -1;
  if (snprintf(made, sizeof made, "%s/%s", base, name) >= PATH_MAX - 40) return refuse(base, "too long"), -1;
  for (char *at = made + strlen(base); at && *at; at = strchr(at + 1, '/')) {
    char *end = strchr(at + 1, '/');
    if (end) *end = '\0';
    /* Asked again: mkdir of a directory that is there may say EROFS, or EACCES on an automounter's. */
    if (!may_make(made, (size_t)(at - made))) return -1;
    int error = make_directory(made);
    if (is_foreign_link(made)) return -1;
    if (error && access(made, F_OK) != 0) return refuse(made, strerror(error)), -1;
    if (end) *end = '/';
  }
  if (!realpath(made, real)) return refuse(made, strerror(errno)), -1;
  if (strlen(real) >= PATH_MAX - 200) return refuse(base, "too long"), -1; /* names of parts follow */
  snprintf(path, PATH_MAX, "%s/%.32s", real[1] ? real : "", index_digest);
  /* The loader takes these for a separator and for tokens such as $ORIGIN. */
  if (strpbrk(path, ":;$\n")) return refuse(path, "its name has a colon, semicolon, dollar sign or newline"), -1;
  if (!is_utf8(path)) return refuse(path, "its name is not UTF-8"), -1;
  if (is_noexec(real) || !is_ours(real, false)) return -1;
  int error = make_directory(path);
  if (error && access(path, F_OK) != 0) return refuse(path, strerror(error)), -1;
  if (!is_ours(path, false)) return -1;
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (dir < 0) refuse(path, strerror(errno));
  return dir;
}
