/*
 * Starts programs with what Deno.Command cannot give them, and shows what a program was given. Built statically,
 * so that no variable which steers a dynamic loader acts on it.
 *
 *   raw_exec CLOSED PROGRAM ENVIRONMENT ARGUMENTS   executes PROGRAM without the descriptors that CLOSED has the
 *                                                   digits of; the files have its strings, each with a NUL
 *   raw_exec --environ FILE                         writes the environment to FILE in that form
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **read_strings(const char *path) {
  FILE *file = fopen(path, "rb");
  size_t size = 0, room = 64 << 20, count = 0;
  char *bytes = malloc(room), **strings;
  if (!file || !bytes) return perror(path), NULL;
  size = fread(bytes, 1, room, file);
  fclose(file);
  for (size_t i = 0; i < size; i++) count += bytes[i] == 0;
  strings = calloc(count + 1, sizeof *strings);
  for (size_t at = 0, i = 0; strings && at < size; at += strlen(bytes + at) + 1) strings[i++] = bytes + at;
  return strings;
}

static int write_environment(const char *path, char **environment) {
  FILE *file = fopen(path, "wb");
  if (!file) return perror(path), 1;
  for (; *environment; environment++) fwrite(*environment, 1, strlen(*environment) + 1, file);
  return fclose(file) == 0 ? 0 : 1;
}

int main(int argc, char **argv, char **envp) {
  if (argc == 3 && strcmp(argv[1], "--environ") == 0) return write_environment(argv[2], envp);
  if (argc != 5) return fputs("usage: raw_exec CLOSED PROGRAM ENVIRONMENT ARGUMENTS\n", stderr), 64;
  char **environment = read_strings(argv[3]), **arguments = read_strings(argv[4]);
  if (!environment || !arguments) return 74;
  for (const char *digit = argv[1]; *digit; digit++) close(*digit - '0');
  execve(argv[2], arguments, environment);
  return 126;
}
