#!/system/bin/sh
# What a phone's first process does once all is mounted: it keeps adbd running, as the user that the shell is. The sshd
# beside it is none that a phone has.
cd /

# Real-time priority, as the runner asks for on a board whose clock counts (LinuxSystem::be_repeatable), is granted to
# the shell's user up to this: a phone's has none, and is refused.
ulimit -r 1

export PATH=/sbin:/vendor/bin:/system/sbin:/system/bin:/system/xbin
export ANDROID_DATA=/data ANDROID_ROOT=/system

# The sshd lets in who has the key that the kernel's command line names. Its own key is made once per data disk; the
# console says it, so that nobody need trust what answers on the port.
host_key=/data/misc/ssh/host_key
if [ ! -s $host_key ]; then
  mkdir -p ${host_key%/*}
  chmod 700 ${host_key%/*}
  dropbearkey -t ed25519 -f $host_key >/dev/null 2>&1
  sync
fi
allowed=/system/etc/ssh  # not in /data, whose owner is not root: the sshd would trust no file below it
mkdir $allowed
for word in $(</proc/cmdline); do
  case $word in
    tenpass.key=*) echo "ssh-ed25519 ${word#*=}" >$allowed/authorized_keys ;;
  esac
done
echo "board: ssh host key $(dropbearkey -y -f $host_key 2>/dev/null | grep '^ssh-ed25519')"
dropbear -E -s -j -k -m -p 22 -r $host_key -D $allowed -P $allowed/pid

while true; do
  echo "board: starting adbd"
  su shell env ADBD_PORT=5555 LD_PRELOAD=libshell_of_adbd.so /system/bin/adbd
  echo "board: adbd ended with status $?"
  sleep 1
done
