"""The last 1.x Python SDK against an endpoint: `mcp_v1.py URL`. Speaks the older era only (sessions, GET stream).

Prints one line per check; exits with 1 when one failed.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager

from checks import Checks, counted_lines, equal, finish, holds, until
from mcp import ClientSession, McpError, types
from mcp.client.streamable_http import streamable_http_client
from pydantic import AnyUrl

VERSION = "2025-11-25"
WATCHED = AnyUrl("test://watched-resource")


class Peer:
    """One connected session and everything that the server sent to it unasked."""

    def __init__(self) -> None:
        self.logs: list[str] = []
        self.notifications: list[str] = []
        self.session: ClientSession
        self.initialized: types.InitializeResult
        self.session_id = lambda: None

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(str(params.data))

    async def on_message(self, message: object) -> None:
        if isinstance(message, types.ServerNotification):
            self.notifications.append(message.root.method)

    async def text(self, tool: str, arguments: dict | None = None) -> str:
        result = await self.session.call_tool(tool, arguments or {})
        holds(not result.isError, f"{tool} failed: {result.content}")
        return result.content[0].text


async def sample(_context: object, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    asked = params.messages[0].content.text
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text=f"heard {asked}"), model="test"
    )


async def elicit(_context: object, _params: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"username": "ada", "email": "ada@example.com"})


@asynccontextmanager
async def connect(url: str):
    peer = Peer()
    async with streamable_http_client(url) as (read, write, session_id):
        async with ClientSession(
            read,
            write,
            sampling_callback=sample,
            elicitation_callback=elicit,
            logging_callback=peer.on_log,
            message_handler=peer.on_message,
        ) as session:
            peer.session = session
            peer.session_id = session_id
            peer.initialized = await session.initialize()
            yield peer


async def basics(checks: Checks, peer: Peer) -> None:
    async def initialize() -> None:
        equal(peer.initialized.protocolVersion, VERSION)
        equal(peer.initialized.serverInfo.name, "erlmcp-embedded")
        holds(peer.session_id(), "no session id")

    async def ping() -> None:
        await peer.session.send_ping()

    async def lists() -> None:
        tools = {tool.name for tool in (await peer.session.list_tools()).tools}
        holds({"echo", "count", "node_info", "test_sampling"} <= tools, f"tools: {sorted(tools)}")
        resources = {str(resource.uri) for resource in (await peer.session.list_resources()).resources}
        holds("test://static-text" in resources, f"resources: {resources}")
        templates = (await peer.session.list_resource_templates()).resourceTemplates
        equal([template.uriTemplate for template in templates], ["test://template/{id}/data"])
        prompts = {prompt.name for prompt in (await peer.session.list_prompts()).prompts}
        holds("test_simple_prompt" in prompts, f"prompts: {prompts}")

    async def resources() -> None:
        read = await peer.session.read_resource(AnyUrl("test://static-text"))
        equal(read.contents[0].text, "This is the content of the static text resource.")
        read = await peer.session.read_resource(AnyUrl("test://static-binary"))
        equal((read.contents[0].mimeType, read.contents[0].blob[:8]), ("image/png", "iVBORw0K"))
        read = await peer.session.read_resource(AnyUrl("test://template/42/data"))
        holds('"id":"42"' in read.contents[0].text, read.contents[0].text)

    async def missing_resource() -> None:
        try:
            await peer.session.read_resource(AnyUrl("test://nothing"))
        except McpError as error:
            equal(error.error.code, -32002)
        else:
            raise AssertionError("reading nothing succeeded")

    async def prompts() -> None:
        prompt = await peer.session.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
        equal(prompt.messages[0].content.text, "Prompt with arguments: arg1='one', arg2='two'")

    async def completion() -> None:
        reference = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        done = await peer.session.complete(reference, {"name": "arg1", "value": "par"})
        equal(done.completion.values, ["paris", "park", "party"])

    await checks.run("initialize", initialize)
    await checks.run("ping", ping)
    await checks.run("lists", lists)
    await checks.run("resources", resources)
    await checks.run("missing resource", missing_resource)
    await checks.run("prompts", prompts)
    await checks.run("completion", completion)


async def calls(checks: Checks, peer: Peer) -> None:
    async def echo() -> None:
        for text in ["", "hello", "grüße 🦀\n\ttabs", "x" * 300_000]:
            equal(await peer.text("echo", {"text": text}), text)

    async def large() -> None:
        for size in (1, 65_535, 65_536, 1 << 20):
            equal(await peer.text("large_text", {"bytes": size}), counted_lines(size))

    async def concurrent() -> None:
        texts = [f"call {number}" for number in range(32)]
        slow = asyncio.create_task(peer.text("count", {"to": 3, "wait_ms": 100}))
        answers = await asyncio.gather(*(peer.text("echo", {"text": text}) for text in texts))
        equal(answers, texts)
        equal(await slow, "Counted to 3")

    async def failing_tool() -> None:
        result = await peer.session.call_tool("test_error_handling", {})
        holds(result.isError, "not marked as an error")

    async def unknown_tool() -> None:
        try:
            await peer.session.call_tool("no_such_tool", {})
        except McpError as error:
            equal(error.error.code, -32602)
        else:
            raise AssertionError("an unknown tool answered")

    await checks.run("echo", echo)
    await checks.run("large results", large)
    await checks.run("concurrent calls", concurrent)
    await checks.run("failing tool", failing_tool)
    await checks.run("unknown tool", unknown_tool)


async def streams(checks: Checks, peer: Peer) -> None:
    async def progress() -> None:
        seen: list[tuple[float, float | None]] = []
        times: list[float] = []

        async def on_progress(progress: float, total: float | None, _message: str | None) -> None:
            seen.append((progress, total))
            times.append(time.monotonic())

        await peer.session.call_tool("count", {"to": 5, "wait_ms": 200}, progress_callback=on_progress)
        equal(seen, [(float(step), 5.0) for step in range(1, 6)])
        # Sent over 800 ms: held back anywhere on the way, they would come together.
        holds(times[-1] - times[0] > 0.3, f"all progress came within {times[-1] - times[0]:.3f} s")

    async def logging() -> None:
        peer.logs.clear()
        await peer.session.set_logging_level("info")
        await peer.text("test_tool_with_logging")
        await until(lambda: len(peer.logs) >= 3, "three log messages")
        equal(peer.logs, ["Tool execution started", "Tool processing data", "Tool execution completed"])

    async def sampling() -> None:
        equal(await peer.text("test_sampling", {"prompt": "this"}), "LLM response: heard this")

    async def elicitation() -> None:
        answer = await peer.text("test_elicitation", {"message": "Who?"})
        holds("action=accept" in answer and "ada@example.com" in answer, answer)

    async def subscription() -> None:
        peer.notifications.clear()
        await peer.session.subscribe_resource(WATCHED)
        await peer.text("test_update_resource")
        await until(lambda: "notifications/resources/updated" in peer.notifications, "update of the resource")
        await peer.session.unsubscribe_resource(WATCHED)

    async def list_changed() -> None:
        before = len((await peer.session.list_tools()).tools)
        peer.notifications.clear()
        await peer.text("test_trigger_tool_change")
        await until(lambda: "notifications/tools/list_changed" in peer.notifications, "list_changed")
        equal(abs(len((await peer.session.list_tools()).tools) - before), 1)

    await checks.run("progress is streamed", progress)
    await checks.run("logging", logging)
    await checks.run("sampling", sampling)
    await checks.run("elicitation", elicitation)
    await checks.run("resource subscription on the GET stream", subscription)
    await checks.run("list_changed on the GET stream", list_changed)


async def many_sessions(checks: Checks, url: str) -> None:
    async def apart() -> None:
        async def one(number: int) -> str:
            async with connect(url) as peer:
                equal(await peer.text("echo", {"text": f"session {number}"}), f"session {number}")
                return str(peer.session_id())

        ids = await asyncio.gather(*(one(number) for number in range(8)))
        equal(len(set(ids)), 8)

    await checks.run("eight sessions at once", apart)


async def main(url: str) -> None:
    checks = Checks("1.x ")
    async with connect(url) as peer:
        await basics(checks, peer)
        await calls(checks, peer)
        await streams(checks, peer)
    await many_sessions(checks, url)
    finish(checks)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
