"""netd as the launcher starts it, but without its regular comparison: what it mends, it heard of."""

import os
import sys

from appliance import settings
from appliance.privilege import Identity, become
from appliance.processes import processes
from netns import daemon, main
from netns.listening import open_listener

if __name__ == "__main__":
    daemon.EVERY = float(sys.argv.pop(1))
    (netd,) = [process for process in processes(settings.load()) if process.name == "netd"]
    (control,) = netd.listeners
    descriptor = open_listener(control, 0)
    os.dup2(descriptor, 3)
    become(Identity(0, frozenset(netd.capabilities)))
    os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="control", LISTEN_PID=str(os.getpid()))
    main.main()
