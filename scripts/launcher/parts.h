/*
 * The parts behind the launcher: their index, and unpacking one of them to a descriptor.
 *
 * The file ends with a trailer of 112 bytes: "davit-index OFFSET SIZE SHA256", spaces, newline. The index
 * that it points to has one line a part: USE OFFSET PACKED RAW SHA256 NAME, all in decimal but the SHA-256,
 * which is that of the packed bytes; what they unpack to is covered by zstd's own checksum. One more line is
 * for the launcher itself.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

enum { MAX_PARTS = 64, INDEX_MAX = 16384, TRAILER_SIZE = 112 };
static const size_t RAW_MAX = 1 << 30;

/* use: 'r' the runtime's, 't' the tools', 'b' both, 'l' the launcher. The loader is the part "davit". */
struct part { char use, name[64], digest[65]; off_t offset; size_t packed, raw; int fd; };
enum outcome { UNPACKED, NOT_WRITTEN, DAMAGED };

static struct part parts[MAX_PARTS], launcher;
static int part_count, self_fd;
static char index_digest[65], self_path[PATH_MAX + 32];

__attribute__((noreturn))
static void damaged(const char *what, const char *name) {
  die(EX_DATAERR, "\"%s\" is damaged: %s%s; download it again", self_path, what, name);
}

__attribute__((noreturn))
static void damaged_part(const char *name) {
  damaged("not the SHA-256 that it should have: ", name);
}

static void read_exactly(void *to, size_t size, off_t offset) {
  for (size_t done = 0; done < size;) {
    ssize_t count = pread(self_fd, (char *)to + done, size - done, offset + (off_t)done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) die(EX_OSERR, "cannot read \"%s\": %s", self_path, strerror(errno));
    if (count == 0) damaged("it ends too early", "");
    done += (size_t)count;
  }
}

/* Adds a line of the index to the parts. All bytes of a part must lie before `end`. */
static bool read_line(const char *line, long long end) {
  static const char NAME_BYTES[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-";
  struct part part = { .fd = -1 };
  long long at, packed, raw;
  int length = 0;
  /* The widths keep what is read below 2^63. */
  if (sscanf(line, "%c %18lld %18lld %18lld %64[0-9a-f] %63s%n", &part.use, &at, &packed, &raw, part.digest,
             part.name, &length) != 6 || line[length] != '\0') return false;
  if (at < 0 || packed < 0 || raw < 0 || at + packed > end || raw > (long long)RAW_MAX) return false;
  if (strspn(part.name, NAME_BYTES) != strlen(part.name) || part.name[0] == '.') return false;
  part.offset = at, part.packed = (size_t)packed, part.raw = (size_t)raw;
  if (part.use == 'l') return launcher = part, true;
  if (!strchr("rtb", part.use) || part_count == MAX_PARTS) return false;
  parts[part_count++] = part;
  return true;
}

static void read_index(void) {
  static char trailer[TRAILER_SIZE + 1], index[INDEX_MAX + 1];
  char wanted[65] = "", numbers[TRAILER_SIZE], whole[TRAILER_SIZE + 1];
  long long offset = 0, size = 0;
  struct stat status;
  if (fstat(self_fd, &status) != 0) die(EX_OSERR, "cannot stat \"%s\": %s", self_path, strerror(errno));
  if (status.st_size < TRAILER_SIZE) damaged("it has no index", "");
  read_exactly(trailer, TRAILER_SIZE, status.st_size - TRAILER_SIZE);
  sscanf(trailer, "davit-index %18lld %18lld %64[0-9a-f]", &offset, &size, wanted);
  snprintf(numbers, sizeof numbers, "davit-index %lld %lld %s", offset, size, wanted);
  snprintf(whole, sizeof whole, "%-*s\n", TRAILER_SIZE - 1, numbers);
  if (memcmp(trailer, whole, TRAILER_SIZE) != 0 || size < 1 || size > INDEX_MAX || offset < 0 ||
      offset + size + TRAILER_SIZE != status.st_size)
    damaged("its index is not where it should be, the download was cut or changed", "");
  read_exactly(index, (size_t)size, offset);
  sha256_hex(index, (size_t)size, index_digest);
  if (strcmp(index_digest, wanted) != 0) damaged("its index does not have the SHA-256 it should have", "");
  for (char *line = strtok(index, "\n"); line; line = strtok(NULL, "\n"))
    if (!read_line(line, offset)) damaged("its index cannot be read", "");
}

/* To be asked before anything is unpacked: what a damaged launcher says of the parts is worth nothing. */
static bool is_launcher_whole(void) {
  static char bytes[1 << 17];
  struct sha256 hash;
  char digest[65];
  sha256_start(&hash);
  for (size_t done = 0, size; done < launcher.packed; done += size) {
    size = launcher.packed - done < sizeof bytes ? launcher.packed - done : sizeof bytes;
    read_exactly(bytes, size, launcher.offset + (off_t)done);
    sha256_add(&hash, bytes, size);
  }
  sha256_end(&hash, digest);
  return strcmp(digest, launcher.digest) == 0;
}

static bool write_all(int to, const char *bytes, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t count = write(to, bytes + done, size - done);
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) done += (size_t)count;
  }
  return true;
}

static enum outcome unpack_stream(const struct part *part, int to, ZSTD_DStream *stream) {
  static char in[1 << 17], out[1 << 17];
  struct sha256 hash;
  size_t left = part->packed, written = 0, state = 1;
  off_t offset = part->offset;
  char digest[65];
  sha256_start(&hash);
  while (left > 0) {
    size_t size = left < sizeof in ? left : sizeof in;
    read_exactly(in, size, offset);
    sha256_add(&hash, in, size);
    left -= size, offset += (off_t)size;
    ZSTD_inBuffer input = { in, size, 0 };
    ZSTD_outBuffer output = { out, sizeof out, 0 };
    /* A full buffer may leave bytes in the stream, also when there is no more input. */
    for (; input.pos < size || (state != 0 && output.pos == sizeof out); written += output.pos) {
      output.pos = 0;
      state = ZSTD_decompressStream(stream, &output, &input);
      if (ZSTD_isError(state) || output.pos > part->raw - written) return DAMAGED;
      if (!write_all(to, out, output.pos)) return NOT_WRITTEN;
    }
  }
  sha256_end(&hash, digest);
  return strcmp(digest, part->digest) == 0 && state == 0 && written == part->raw ? UNPACKED : DAMAGED;
}

/* Unpacks one part; errno tells why it was not written. */
static enum outcome unpack(const struct part *part, int to) {
  ZSTD_DStream *stream = ZSTD_createDStream();
  if (!stream) die(EX_OSERR, "no memory to unpack");
  /* Beyond RLIMIT_FSIZE write(2) then says EFBIG instead of ending us. */
  void (*given)(int) = signal(SIGXFSZ, SIG_IGN);
  enum outcome outcome = unpack_stream(part, to, stream);
  int error = errno;
  signal(SIGXFSZ, given);
  ZSTD_freeDStream(stream);
  errno = error;
  return outcome;
}
