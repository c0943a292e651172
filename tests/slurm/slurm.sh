#!/bin/bash
# A real Slurm of one node on this machine, for tests: slurm.sh start FOLDER | slurm.sh stop FOLDER
# Needs root and Debian's packages slurm-wlm and munge; `slurm.sh install` fetches them.
set -eu

folder=${2:-}

install() {
    apt-get update -qq
    apt-get install -y -qq slurm-wlm munge >/dev/null
}

start() {
    mkdir -p "$folder"/{state,spool}
    if ! munge -n >/dev/null 2>&1; then
        mkdir -p /run/munge
        chown munge: /run/munge
        [ -f /etc/munge/munge.key ] || /usr/sbin/mungekey --create
        setpriv --reuid munge --regid munge --init-groups /usr/sbin/munged --pid-file "/run/munge/cascade-test.pid"
        touch "$folder/our-munge"
    fi
    host=$(hostname)
    cat >"$folder/slurm.conf" <<EOF
ClusterName=cascade
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SchedulerParameters=sched_interval=1
KillWait=5
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF
    export SLURM_CONF="$folder/slurm.conf"
    /usr/sbin/slurmctld
    /usr/sbin/slurmd
    for _ in $(seq 60); do
        sinfo -h -o %T 2>/dev/null | grep -q idle && return
        sleep 0.5
    done
    echo "the node did not come up; see $folder/*.log" >&2
    exit 1
}

stop() {
    for daemon in slurmd slurmctld; do
        [ -f "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" || true
    done
    if [ -f "$folder/our-munge" ]; then
        kill "$(cat /run/munge/cascade-test.pid)" || true
    fi
}

"$1"
