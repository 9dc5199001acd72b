#!/system/bin/sh
# What a phone's first process does once all is mounted: it keeps adbd running, as the user that the shell is.
cd /

# Real-time priority, as the runner asks for on a board whose clock counts (LinuxSystem::be_repeatable), is granted to
# the shell's user up to this: a phone's has none, and is refused.
ulimit -r 1

export PATH=/sbin:/vendor/bin:/system/sbin:/system/bin:/system/xbin
export ANDROID_DATA=/data ANDROID_ROOT=/system
while true; do
  echo "board: starting adbd"
  su shell env ADBD_PORT=5555 LD_PRELOAD=libshell_of_adbd.so /system/bin/adbd
  echo "board: adbd ended with status $?"
  sleep 1
done
