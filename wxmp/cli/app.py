"""The command line application: each command is one module, named here and loaded when it is called."""

from __future__ import annotations

from cyclopts import App

__all__ = ["app"]

app: App = App(name="wxmp", help="WeChat Official Account tools (微信公众平台).")
app.command("wxmp.cli.sim:app", name="sim")
app.command("wxmp.cli.demo:demo", name="demo")
app.command("wxmp.cli.control:app", name="control")
app.command("wxmp.cli.send:app", name="send")
