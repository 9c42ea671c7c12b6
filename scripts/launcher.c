/*
 * davit's portable file begins with this program. Behind it lie zstd frames, one a part (the runtime, davit's
 * bundle, the dynamic loader, glibc, squashfs-tools), then an index in text, then a trailer
 * (scripts/pack.ts). The first start unpacks the parts into a directory named after the index's SHA-256;
 * every start executes the runtime there through the packed loader, which carries our name. From then on the
 * runtime is this process.
 */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/utsname.h>

#include "launcher/text.h"
#include "launcher/sha256.h"
#include "launcher/parts.h"
#include "launcher/fill.h"
#include "launcher/place.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3 */
#endif

static const char *tool; /* `davit self tool NAME …` runs a packed tool instead of the runtime */

/* What would steer the runtime, or break it; and our own names, lest somebody else's be taken for ours. */
static bool steers(const char *entry) {
  static const char *const PREFIXES[] = {
    "LD_", "DENO_", "NODE_", "OTEL_", "RUST_", "TOKIO_", "MALLOC_", "GLIBC_TUNABLES=", "GCONV_PATH=",
    "ICU_", "OPENSSL_", "SIMDUTF_",
    "COMPLETE=",      /* deno prints a script for a shell, and ends */
    "SSLKEYLOGFILE=", /* deno makes that file at every start */
    "HOME=", /* deno reads ~/.npmrc at every start, and waits for ever where that is on a dead server */
    "DAVIT_KEPT_", "DAVIT_LAUNCHED=",
  };
  for (size_t i = 0; i < sizeof PREFIXES / sizeof *PREFIXES; i++)
    if (strncmp(entry, PREFIXES[i], strlen(PREFIXES[i])) == 0) return true;
  return false;
}

/* This machine's name, as far as it is fit for a file's. */
static const char *host_name(void) {
  static struct utsname host;
  uname(&host);
  for (char *at = host.nodename; *at; at++)
    if (*at == '/' || *at < ' ' || *at > '~') *at = '_';
  return host.nodename;
}

/* The runtime's environment; lib/host/self.ts gives everything that we renamed its old name back. */
static char **environment_for(char **given, const char *directory) {
  size_t count = 0, kept = 0;
  while (given[count]) count++;
  char **made = calloc(count + 6, sizeof *made);
  if (!made) die(EX_OSERR, "no memory");
  for (size_t i = 0; i < count; i++) {
    if (!steers(given[i])) made[kept++] = given[i];
    else if (!tool) made[kept++] = formatted("DAVIT_KEPT_%s", given[i]);
  }
  if (tool) return made;
  made[kept++] = formatted("DAVIT_LAUNCHED=%s\n%s", directory, self_path);
  /* Its SQLite files must not be shared by hosts that share a home. Without a directory there is none. */
  made[kept++] = *directory ? formatted("DENO_DIR=%s/deno.%s", directory, host_name())
                            : formatted("DENO_DIR=/proc/davit-has-no-directory");
  /* Without one deno would ask passwd(5). */
  made[kept++] = formatted("HOME=%s", *directory ? directory : "/proc/davit-has-no-directory");
  made[kept++] = formatted("DENO_NO_UPDATE_CHECK=1");
  /* Else it adds a node of its own to PATH where there is none. */
  made[kept++] = formatted("DENO_DISABLE_NODE_SHIM=1");
  return made;
}

static char *path_of(const char *directory, const char *name) {
  for (int i = 0; i < part_count; i++)
    if (!*directory && strcmp(parts[i].name, name) == 0) return formatted("/proc/self/fd/%d", parts[i].fd);
  return formatted("%s/%s", directory, name);
}

/*
 * A probe runs for weeks. With these flags it keeps to 25 to 30 MB of anonymous memory over 100,000 samples, where
 * V8's defaults take 35; one thread, with none that cleans up beside it, saves an eighth of a sample's CPU time.
 * lib/host/self.ts has them for a davit from source.
 */
static const char PROBE_FLAGS[] =
  "--v8-flags=--lite-mode,--optimize-for-size,--single-threaded,--max-semi-space-size=1,--initial-heap-size=8";

static bool is_probe(char **arguments, int count) {
  return count > 2 && strcmp(arguments[1], "vitals") == 0 &&
         (strcmp(arguments[2], "run") == 0 || strcmp(arguments[2], "gpu-helper") == 0);
}

/* Executes the runtime, or the tool, through the loader; returns when that could not be done. */
static void start(const char *directory, char **arguments, int count, char **environment) {
  const char **line = calloc((size_t)count + 20, sizeof *line);
  char *loader = path_of(directory, "davit"), *preload = formatted("%s", "");
  int at = 0;
  if (!line) die(EX_OSERR, "no memory");
  for (int i = 0; i < part_count && !*directory; i++)
    if (parts[i].fd >= 0 && strstr(parts[i].name, ".so"))
      preload = formatted("%s%s/proc/self/fd/%d", preload, *preload ? ":" : "", parts[i].fd);
  line[at++] = "davit";
  line[at++] = "--inhibit-cache";
  line[at++] = *directory ? "--library-path" : "--preload";
  line[at++] = *directory ? directory : preload;
  line[at++] = "--argv0";
  line[at++] = tool ? tool : "davit";
  line[at++] = path_of(directory, tool ? tool : "runtime");
  if (!tool) {
    static const char *const RUN[] = { "run", "-A", "--no-config", "--no-prompt", "--no-lock", "--no-remote",
                                       "--no-npm", "--quiet", "--ext=js" };
    for (size_t i = 0; i < sizeof RUN / sizeof *RUN; i++) line[at++] = RUN[i];
    if (is_probe(arguments, count)) line[at++] = PROBE_FLAGS;
    line[at++] = path_of(directory, "main.js");
  }
  for (int i = tool ? 4 : 1; i < count; i++) line[at++] = arguments[i];
  execve(loader, (char **)line, environment_for(environment, directory));
  /* These are the place's fault; what else there is (E2BIG, ENOEXEC) would be the same in every place. */
  if (errno != EACCES && errno != EPERM && errno != ENOENT)
    die(EX_OSERR, "cannot execute \"%s\": %s", loader, strerror(errno));
  refuse(loader, strerror(errno));
}

static void occupy_standard_descriptors(void) {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
    /* A bare root has no /dev: reads and writes then fail. With O_PATH the runtime would abort. */
    if (fd < 0) fd = open("/", O_RDONLY | O_DIRECTORY);
  } while (fd >= 0 && fd <= 2);
  if (fd > 2) close(fd);
}

static void open_self(void) {
  struct stat opened, named;
  self_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  if (self_fd < 0)
    die(EX_UNAVAILABLE, "cannot open \"/proc/self/exe\": %s%s", strerror(errno),
        errno == ENOENT ? "; mount /proc" : "");
  ssize_t length = readlink("/proc/self/exe", self_path, PATH_MAX - 1);
  self_path[length < 0 ? 0 : length] = '\0';
  if (fstat(self_fd, &opened) == 0 && stat(self_path, &named) == 0 && opened.st_ino == named.st_ino &&
      opened.st_dev == named.st_dev && is_utf8(self_path))
    return;
  /* Removed or replaced since, or beyond what JavaScript can name: only the descriptor can start us again. */
  fcntl(self_fd, F_SETFD, 0);
  snprintf(self_path, sizeof self_path, "/proc/self/fd/%d", self_fd);
}

/* Whoever runs a set-user-ID davit could have it run any program with its owner's rights. */
static void refuse_foreign_rights(void) {
  if (geteuid() != getuid() || getegid() != getgid())
    die(EX_NOPERM, "it is set-user-ID or set-group-ID, which davit must not be: chmod ug-s \"%s\"",
        self_path);
}

/* Deno would give davit U+FFFD for such bytes: another name than was asked for. */
static void refuse_foreign_text(char **argv, int argc) {
  for (int i = 1; i < argc; i++) {
    if (is_utf8(argv[i])) continue;
    say("Cannot read argument %d: its bytes are not UTF-8, which davit's arguments must be", i);
    exit(EX_USAGE);
  }
}

/* Tries one place; returns when it will not do. Twice: somebody may remove the directory while we fill it. */
static void try_place(const char *base, const char *name, char **argv, int argc, char **envp) {
  char path[PATH_MAX];
  for (int tries = 0; tries < 2; tries++) {
    int dir = open_directory(base, name, path);
    if (dir < 0) return;
    errno = 0;
    if (fill(dir, path)) start(path, argv, argc, envp);
    bool vanished = errno == ENOENT;
    close(dir);
    if (!vanished) return;
  }
}

__attribute__((noreturn))
static void start_from_memory(char **argv, int argc, char **envp) {
  size_t bytes = 0;
  if (!is_launcher_whole()) damaged_part(launcher.name);
  for (int i = 0; i < part_count; i++) {
    struct part *part = &parts[i];
    if (part->use == (tool ? 'r' : 't')) continue;
    char *label = formatted("davit:%s", part->name);
    part->fd = memfd_create(label, MFD_EXEC);
    if (part->fd < 0 && errno == EINVAL) part->fd = memfd_create(label, 0);
    if (part->fd < 0) die(EX_OSERR, "no directory will do (%s), nor memory: %s", why, strerror(errno));
    enum outcome outcome = unpack(part, part->fd);
    if (outcome == DAMAGED) damaged_part(part->name);
    if (outcome == NOT_WRITTEN)
      die(EX_OSERR, "no directory will do (%s), nor memory: %s", why, strerror(errno));
    bytes += part->raw;
  }
  if (!tool)
    say("no directory to unpack to (%s): running from memory, which costs %zu MB; name one with DAVIT_CACHE",
        why, bytes / 1000000);
  start("", argv, argc, envp);
  die(EX_OSERR, "no directory will do, nor memory: %s", why);
}

int main(int argc, char **argv, char **envp) {
  const char *chosen = getenv("DAVIT_CACHE"), *home = getenv("HOME"), *xdg = getenv("XDG_CACHE_HOME");
  char *name = formatted("davit-%u", (unsigned)geteuid());

  occupy_standard_descriptors();
  open_self();
  refuse_foreign_rights();
  read_index();
  if (argc > 3 && strcmp(argv[1], "self") == 0 && strcmp(argv[2], "tool") == 0)
    for (int i = 0; i < part_count; i++)
      if (parts[i].use == 't' && !strstr(parts[i].name, ".so") && strcmp(parts[i].name, argv[3]) == 0)
        tool = argv[3];
  if (!tool) refuse_foreign_text(argv, argc);

  if (chosen && *chosen) {
    if (*chosen == '/') try_place("", chosen + 1, argv, argc, envp);
    else refuse(chosen, "not an absolute path");
    if (!tool) say("cannot use DAVIT_CACHE: %s", why);
  }
  if (xdg && *xdg == '/') try_place(xdg, "davit", argv, argc, envp);
  if (home && *home == '/' && home[1]) try_place(home, ".cache/davit", argv, argc, envp);
  try_place("/var/cache", "davit", argv, argc, envp);
  try_place("/var/tmp", name, argv, argc, envp);
  try_place("/dev/shm", name, argv, argc, envp);
  try_place("/tmp", name, argv, argc, envp);
  start_from_memory(argv, argc, envp);
}
