/**
 * A root filesystem with bash, coreutils, sshd and ssh, of this machine's own files and the libraries they need.
 *
 * @module
 */
import { must } from "./real_registry.ts";
import type { TempDir } from "./temp.ts";

/** Programs that {@linkcode sshdTar} copies. */
export const SSHD_ROOT_PROGRAMS: readonly string[] = ["bash", "grep", "sshd", "ssh", "ldd", "tar"];

/** Makes the tar; `withSshd` false leaves sshd out. */
export async function sshdTar(dir: TempDir, { withSshd = true } = {}): Promise<string> {
  await must(["sh", "-eu", "-c", SCRIPT, "sh", dir.path, withSshd ? "sshd" : ""]);
  return dir.join("sshd-root.tar");
}

const SCRIPT = String.raw`
cd "$1"; root=sshd-root; export PATH="$PATH:/usr/sbin:/sbin"
mkdir -p $root/bin $root/sbin $root/lib $root/lib64 $root/usr/bin $root/usr/sbin $root/etc/ssh/ssh_config.d
mkdir -p $root/tmp $root/root $root/run $root/dev $root/proc $root/var/empty; chmod 1777 $root/tmp
for name in bash dash cat chmod chown cp cut date echo env false grep head hostname id kill ls mkdir mv printenv printf ps \
  pwd readlink rm sed sleep sort tail tee touch tr true uname wc whoami ssh ssh-keygen $2; do
  path=$(command -v $name) || continue
  case $path in /*) ;; *) path=$(PATH=/usr/bin:/bin:/usr/sbin:/sbin which $name) || continue ;; esac
  case $name in sshd) to=$root/usr/sbin ;; *) to=$root/bin ;; esac
  cp -L "$path" $to/$name
  ldd "$path" 2> /dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) .*/\1/p' >> libraries || :
done
sort -u libraries | while read -r library; do
  mkdir -p "$root$(dirname "$library")"; cp -L "$library" "$root$library"
done
rm libraries
ln -sf dash $root/bin/sh
printf 'root:x:0:0::/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/bin/false\n' > $root/etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' > $root/etc/group
printf 'root:*:19000:0:99999:7:::\nsshd:!:19000::::::\n' > $root/etc/shadow; chmod 600 $root/etc/shadow
printf 'Include /etc/ssh/ssh_config.d/*.conf\n' > $root/etc/ssh/ssh_config
tar -C $root --owner=0 --group=0 -cf sshd-root.tar .
rm -r $root
`;
