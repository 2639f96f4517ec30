"""A server of one file on this machine: no test of a download leaves it."""

import http.server


class FileServer(http.server.ThreadingHTTPServer):
    """Answers who asks for ``url`` with its ``answers`` in turn, the last one again and again.

    An answer is what to send (bytes, or an iterator over parts; None: not found) and the length
    that is announced (None: none); ``asked`` counts the requests.
    """

    def __init__(self, name):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/files/{name}"
        self.answers, self.asked = [], 0


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        answers = self.server.answers
        content, length = answers[min(self.server.asked, len(answers)) - 1]
        if not self.server.url.endswith(self.path) or content is None:
            self.send_error(404)
            return
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        for part in [content] if isinstance(content, bytes) else content:
            self.wfile.write(part)

    def log_message(self, *_):
        """Quiet."""
