# $1: the administrators' account; the rest: their public keys, and nobody else's
user=$1
shift

if [ $# -gt 0 ] && ! getent passwd "$user" > /dev/null; then
  useradd --create-home --shell /bin/bash "$user" # its password is locked
  echo "changed $user"
fi
if getent passwd "$user" > /dev/null; then
  home=$(getent passwd "$user" | cut -d : -f 6)
  install -d -o "$user" -g "$user" -m 0700 "$home/.ssh"
  for key; do echo "$key"; done | put "$home/.ssh/authorized_keys"
  echo "$user ALL=(ALL) NOPASSWD:ALL" | put /etc/sudoers.d/pcg-admin 0440
fi

# Asked of sshd itself, whatever the files say. sshd takes the first value it reads, so ours must sort first.
by_password() { sshd -T | grep -Eq '^(passwordauthentication|kbdinteractiveauthentication) yes$'; }
mkdir -p /run/sshd
if by_password; then
  printf 'PasswordAuthentication no\nKbdInteractiveAuthentication no\n' | put /etc/ssh/sshd_config.d/00-pcg.conf
  ! by_password || fail "sshd still takes passwords: let /etc/ssh/sshd_config of the template include sshd_config.d first"
  systemctl try-reload-or-restart ssh.service
fi
