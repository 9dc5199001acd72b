#!/bin/busybox sh
# The first process of an emulated board: loads what the kernel lacks, and makes of /android what a phone has as /.
# Nobody sees this script's own commands: they stay in the archive that the kernel has unpacked, below the new root.
export PATH=/bin
/bin/busybox --install -s /bin

mount -o bind /android /android  # what is no mount cannot become the root
mount -t proc proc /android/proc
mount -t sysfs sysfs /android/sys
mount -t devtmpfs devtmpfs /dev
mkdir /dev/pts
mount -o bind /dev /android/dev
mount -t devpts devpts /android/dev/pts
exec </dev/console >/dev/console 2>&1

while read -r module; do
  insmod "/modules/$module" || echo "board: module $module was not loaded"
done </modules/order
rm -r /modules

# Booted with maxcpus=1 (four emulated cores coming up at once take half a minute): the rest join now.
for switch in /android/sys/devices/system/cpu/cpu[1-9]*/online; do
  [ -e "$switch" ] && echo 1 >"$switch"
done

hostname localhost
ifconfig lo up
ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up

# A pass may take longer than the kernel lets a process of real-time priority run in one go.
echo -1 >/android/proc/sys/kernel/sched_rt_runtime_us
# Threads of that priority that wait for one another awake: the shortest turns that there are.
echo 4 >/android/proc/sys/kernel/sched_rr_timeslice_ms

# As on a phone whose owner has said `setprop security.perf_harden 0`: the shell may count what it runs.
echo 1 >/android/proc/sys/kernel/perf_event_paranoid

# What is pushed outlives a power-off once `sync` has been called. Without it nothing is written back: neither by
# the kernel's flusher nor by the journal, for both would do so in the middle of a timed pass.
echo 0 >/android/proc/sys/vm/dirty_writeback_centisecs
if ! mount -t ext4 -o nosuid,nodev,noatime,noinit_itable,commit=86400 /dev/vda /android/data; then
  echo "board: the data disk cannot be mounted"
  poweroff -f
fi

# Owners and modes as on a phone; what somebody else has left in the shell's folder would be in its way.
cd /android/data || poweroff -f
[ "$(stat -c %u local/tmp 2>/dev/null)" = 2000 ] || rm -rf local/tmp
mkdir -p local/tmp
chown 1000:1000 . && chmod 771 .
chmod 751 local
chown 2000:2000 local/tmp && chmod 771 local/tmp

cd /android || poweroff -f
mount -o move . /
exec chroot . /init
