/**
 * Names the errno behind an error. Deno's classes cover only some: ESTALE, ENOLCK, EDQUOT and others arrive as
 * plain errors whose text ends in "(os error N)", and EOPNOTSUPP arrives with the code "ENOTSUP" (measured with
 * strace injection on Deno 2.9.6). Numbers are Linux's generic ones (asm-generic/errno.h), equal on x86-64 and
 * Arm.
 *
 * @module
 */

const NAMES: Record<number, string> = {
  1: "EPERM",
  2: "ENOENT",
  3: "ESRCH",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  7: "E2BIG",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  18: "EXDEV",
  19: "ENODEV",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  24: "EMFILE",
  26: "ETXTBSY",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  31: "EMLINK",
  32: "EPIPE",
  36: "ENAMETOOLONG",
  37: "ENOLCK",
  38: "ENOSYS",
  39: "ENOTEMPTY",
  40: "ELOOP",
  95: "EOPNOTSUPP",
  104: "ECONNRESET",
  107: "ENOTCONN",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  113: "EHOSTUNREACH",
  116: "ESTALE",
  121: "EREMOTEIO",
  122: "EDQUOT",
};

/** The errno name of `error` ("ENOSPC"), or undefined when it carries none. Looks into `cause` too. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const number = /\(os error (\d+)\)/.exec(error.message)?.[1];
  if (number !== undefined) return NAMES[Number(number)] ?? `errno ${number}`;
  const code = (error as { code?: unknown }).code;
  if (code === "ENOTSUP") return "EOPNOTSUPP";
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return code;
  // A program without a slash is to be started and PATH is not set.
  if (error.message.includes("no path to search")) return "ENOENT";
  return errnoOf(error.cause);
}

/** Whether `error` says that a filesystem is full, by space, inodes or quota. */
export function isNoSpace(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === "ENOSPC" || errno === "EDQUOT";
}
