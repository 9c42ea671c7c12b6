/**
 * What is done inside the container to have sshd: a file of its own there, in the sh that every image with sshd has.
 *
 * @module
 */

/** `sh FILE GENERATION PORT`; its last line is `davit-sshd: started | running | missing | foreign PID COMMAND`. */
export const SSHD_SCRIPT = `
set -u
generation=$1 port=$2
directory=/.davit/ssh new=/.davit/ssh.new
umask 077
say() { echo "davit-sshd: $*"; exit 0; }

sshd=$(command -v sshd) || sshd=/usr/sbin/sshd
if [ ! -x "$sshd" ]; then rm -rf "$new"; say missing; fi

# The keys of this generation that are here already stay: the other containers know them.
mkdir -p "$directory"
if [ "$(cat "$directory/generation" 2> /dev/null)" != "$generation" ]; then
  rm -f "$directory/generation"
  for file in id_ed25519 id_ed25519.pub host_ed25519 host_ed25519.pub; do
    mv -f "$new/$file" "$directory/$file" || exit 1
  done
  cp "$directory/id_ed25519.pub" "$directory/authorized_keys"
fi
read -r type key _ < "$directory/host_ed25519.pub"
while read -r names _; do echo "$names $type $key"; done < "$new/known_hosts" > "$directory/known_hosts"
mv -f "$new/config" "$directory/config" || exit 1
mv -f "$new/sshd_config" "$directory/sshd_config" || exit 1
rm -rf "$new"
echo "$generation" > "$directory/generation"
# Root's password may be locked, which refuses keys, too, unless PAM is asked.
if grep -q '^root:!' /etc/shadow 2> /dev/null; then echo 'UsePAM yes'; else echo 'UsePAM no'; fi >> "$directory/sshd_config"
# For a plain "ssh HOST" in the container; the private key stays root's.
if [ -d /etc/ssh/ssh_config.d ]; then
  cp "$directory/config" /etc/ssh/ssh_config.d/davit.conf && chmod 644 /etc/ssh/ssh_config.d/davit.conf
fi

# The inodes of sockets that listen on the port; 0A is LISTEN.
hexadecimal=$(printf '%04X' "$port")
listeners() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] && while read -r _ address _ state _ _ _ _ _ inode _; do
      case $address in *":$hexadecimal") [ "$state" = 0A ] && echo "$inode" ;; esac
    done < "$table"
  done
}
holds() { # PID INODE
  ls -l "/proc/$1/fd" 2> /dev/null | grep -q "socket:\\[$2\\]"
}
ours() { # our sshd's pid, if it lives
  read -r pid < "$directory/pid" && tr '\\0' ' ' < "/proc/$pid/cmdline" | grep -q "$directory/sshd_config" && echo "$pid"
}

for inode in $(listeners); do
  pid=$(ours 2> /dev/null)
  if [ -n "$pid" ] && holds "$pid" "$inode"; then say running; fi
  for holder in /proc/[0-9]*; do
    if holds "\${holder#/proc/}" "$inode"; then
      say foreign "pid \${holder#/proc/} in the container ($(tr '\\0' ' ' < "$holder/cmdline" | cut -c 1-80))"
    fi
  done
  say foreign
done

# One that runs and does not listen on this port was started for another.
pid=$(ours 2> /dev/null)
[ -n "$pid" ] && kill "$pid"
rm -f "$directory/pid"
mkdir -p /run/sshd && chmod 755 /run/sshd
: > "$directory/log"
"$sshd" -f "$directory/sshd_config" -E "$directory/log" || { cat "$directory/log"; exit 1; }
# It goes to the background before it binds: its status says nothing.
tries=0
while [ $tries -lt 150 ]; do
  pid=$(ours 2> /dev/null)
  for inode in $(listeners); do
    if [ -n "$pid" ] && holds "$pid" "$inode"; then say started; fi
  done
  tries=$((tries + 1))
  sleep 0.2 2> /dev/null || sleep 1
done
cat "$directory/log"
exit 1
`;
