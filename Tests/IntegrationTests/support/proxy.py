"""A TCP proxy that spoils what goes through it: cuts, delays, dribbles, keeps the line open and silent, or puts some bytes
in the place of others."""

import socket
import threading
import time

DELAY_SECONDS = 0.03
DRIBBLE_SECONDS = 0.0005


class Proxy:
    """`mode` is pass, delay, dribble or silence; it holds for the connections there are and for new ones. One that met
    silence stays silent: its ends find out by themselves. `replaced` are bytes, and as many others that go on instead."""

    def __init__(self, port):
        self.target, self.mode, self.replaced = port, "pass", None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.open, self.lock = set(), threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self.lock:
                self.open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                if self.mode == "silence":
                    return
                if self.replaced:
                    data = data.replace(*self.replaced)
                if self.mode == "delay":
                    time.sleep(DELAY_SECONDS)
                size = 1 if self.mode == "dribble" else len(data)
                for start in range(0, len(data), size):
                    if self.mode == "silence":
                        return
                    sink.sendall(data[start:start + size])
                    if size == 1 and self.mode == "dribble":
                        time.sleep(DRIBBLE_SECONDS)
            self._drop({source, sink})
        except OSError:
            self._drop({source, sink})

    def _drop(self, sockets):
        with self.lock:
            self.open -= sockets
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            one.close()

    def cut(self):
        """Ends every connection, wherever it is in a frame."""
        with self.lock:
            sockets = set(self.open)
        self._drop(sockets)

    def close(self):
        self.listener.close()
        self.cut()
