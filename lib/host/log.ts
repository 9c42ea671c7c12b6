/**
 * The interface by which lib says what it noticed; where it goes and how it looks is cmd's business.
 *
 * @module
 */

/** Values of a log line's keys; undefined ones are left out. */
export type Fields = Record<string, string | number | boolean | undefined>;

/** From the quietest to the loudest. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;

/** How much is said. */
export type LogLevel = typeof LOG_LEVELS[number];

/** One method per level; `message` is a sentence without a final period, keys are snake_case. */
export type Log = Record<LogLevel, (message: string, fields?: Fields) => void>;

/** Says nothing. */
export const silent: Log = { error() {}, warn() {}, info() {}, debug() {} };
