"""The 2.x Python SDK against an endpoint: `mcp_v2.py URL`. Speaks both eras, each pinned, and chosen by itself.

Prints one line per check; exits with 1 when one failed.
"""

from __future__ import annotations

import asyncio
import sys
import time
import warnings

import mcp_types as types
from checks import Checks, counted_lines, equal, finish, holds, until
from mcp import Client
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError

MODERN = "2026-07-28"
LEGACY = "2025-11-25"
WATCHED = "test://watched-resource"

warnings.simplefilter("ignore", MCPDeprecationWarning)  # the older era's methods are used on purpose


class Peer:
    """One connected client and everything that the server sent to it unasked."""

    def __init__(self, url: str, mode: str) -> None:
        self.logs: list[str] = []
        self.notifications: list[str] = []
        self.mode = mode
        self.client = Client(
            url,
            mode=mode,
            sampling_callback=sample,
            elicitation_callback=elicit,
            list_roots_callback=roots,
            logging_callback=self.on_log,
            log_level="info",
            message_handler=self.on_message,
            cache=None,
        )

    @property
    def is_modern(self) -> bool:
        return self.client.protocol_version == MODERN

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(str(params.data))

    async def on_message(self, message: object) -> None:
        method = getattr(message, "method", None)
        if method:
            self.notifications.append(method)

    async def text(self, tool: str, arguments: dict | None = None) -> str:
        result = await self.client.call_tool(tool, arguments or {})
        holds(not result.is_error, f"{tool} failed: {result.content}")
        return result.content[0].text


async def sample(_context: object, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    asked = params.messages[0].content.text
    return types.CreateMessageResult(
        role="assistant", content=types.TextContent(type="text", text=f"heard {asked}"), model="test"
    )


async def elicit(_context: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    fields = params.requested_schema["properties"]
    answers = {"boolean": True, "integer": 7, "number": 7.5}
    content = {name: answers.get(field.get("type"), f"my {name}") for name, field in fields.items()}
    return types.ElicitResult(action="accept", content=content)


async def roots(_context: object) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///here", name="here")])


async def basics(checks: Checks, peer: Peer, wanted_version: str) -> None:
    client = peer.client

    async def version() -> None:
        equal(client.protocol_version, wanted_version)
        # A pinned modern client says nothing before its first call, and so knows no server yet.
        if peer.mode != MODERN:
            equal(client.server_info.name if client.server_info else None, "erlmcp-embedded")
        answer = await client.call_tool("node_info", {})
        equal(answer.structured_content["protocolVersion"], wanted_version)

    async def lists() -> None:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        holds({"echo", "count", "node_info", "test_sampling"} <= tools, f"tools: {sorted(tools)}")
        resources = {str(resource.uri) for resource in (await client.list_resources()).resources}
        holds("test://static-text" in resources, f"resources: {resources}")
        templates = (await client.list_resource_templates()).resource_templates
        equal([template.uri_template for template in templates], ["test://template/{id}/data"])
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        holds("test_simple_prompt" in prompts, f"prompts: {prompts}")

    async def resources() -> None:
        read = await client.read_resource("test://static-text")
        equal(read.contents[0].text, "This is the content of the static text resource.")
        read = await client.read_resource("test://static-binary")
        equal((read.contents[0].mime_type, read.contents[0].blob[:8]), ("image/png", "iVBORw0K"))
        read = await client.read_resource("test://template/42/data")
        holds('"id":"42"' in read.contents[0].text, read.contents[0].text)

    async def missing_resource() -> None:
        try:
            await client.read_resource("test://nothing")
        except MCPError as error:
            equal(error.code, -32602 if peer.is_modern else -32002)
        else:
            raise AssertionError("reading nothing succeeded")

    async def prompts() -> None:
        prompt = await client.get_prompt("test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
        equal(prompt.messages[0].content.text, "Prompt with arguments: arg1='one', arg2='two'")

    async def completion() -> None:
        reference = types.PromptReference(type="ref/prompt", name="test_prompt_with_arguments")
        done = await client.complete(reference, {"name": "arg1", "value": "par"})
        equal(done.completion.values, ["paris", "park", "party"])

    await checks.run("version", version)
    await checks.run("lists", lists)
    await checks.run("resources", resources)
    await checks.run("missing resource", missing_resource)
    await checks.run("prompts", prompts)
    await checks.run("completion", completion)


async def calls(checks: Checks, peer: Peer) -> None:
    async def echo() -> None:
        for text in ["", "hello", "grüße 🦀\n\ttabs", "x" * 300_000]:
            equal(await peer.text("echo", {"text": text}), text)

    async def mirrored() -> None:
        for region in ["eu-west-1", "Zürich ü", " spaced "]:
            equal(await peer.text("test_header_parameter", {"region": region}), f"Region: {region}")

    async def large() -> None:
        for size in (1, 65_535, 65_536, 900_000):  # the SDK takes events of at most 1 MiB
            equal(await peer.text("large_text", {"bytes": size}), counted_lines(size))

    async def concurrent() -> None:
        texts = [f"call {number}" for number in range(32)]
        slow = asyncio.create_task(peer.text("count", {"to": 3, "wait_ms": 100}))
        answers = await asyncio.gather(*(peer.text("echo", {"text": text}) for text in texts))
        equal(answers, texts)
        equal(await slow, "Counted to 3")

    async def failing_tool() -> None:
        holds((await peer.client.call_tool("test_error_handling", {})).is_error, "not marked as an error")

    async def unknown_tool() -> None:
        try:
            await peer.client.call_tool("no_such_tool", {})
        except MCPError as error:
            equal(error.code, -32602)
        else:
            raise AssertionError("an unknown tool answered")

    await checks.run("echo", echo)
    await checks.run("parameter mirrored into a header", mirrored)
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

        await peer.client.call_tool("count", {"to": 5, "wait_ms": 200}, progress_callback=on_progress)
        equal(seen, [(float(step), 5.0) for step in range(1, 6)])
        # Sent over 800 ms: held back anywhere on the way, they would come together.
        holds(times[-1] - times[0] > 0.3, f"all progress came within {times[-1] - times[0]:.3f} s")

    async def logging() -> None:
        peer.logs.clear()
        if not peer.is_modern:
            await peer.client.set_logging_level("info")
        await peer.text("test_tool_with_logging")
        await until(lambda: len(peer.logs) >= 3, "three log messages")
        equal(peer.logs, ["Tool execution started", "Tool processing data", "Tool execution completed"])

    await checks.run("progress is streamed", progress)
    await checks.run("logging", logging)


async def asked_by_request(checks: Checks, peer: Peer) -> None:
    """What only the older era has: the server asks while a call runs, and tells on the GET stream."""

    async def sampling() -> None:
        equal(await peer.text("test_sampling", {"prompt": "this"}), "LLM response: heard this")

    async def elicitation() -> None:
        answer = await peer.text("test_elicitation", {"message": "Who?"})
        holds("action=accept" in answer and "my email" in answer, answer)

    async def subscription() -> None:
        peer.notifications.clear()
        await peer.client.subscribe_resource(WATCHED)
        await peer.text("test_update_resource")
        await until(lambda: "notifications/resources/updated" in peer.notifications, "update of the resource")
        await peer.client.unsubscribe_resource(WATCHED)

    async def ping() -> None:
        await peer.client.send_ping()

    await checks.run("ping", ping)
    await checks.run("sampling", sampling)
    await checks.run("elicitation", elicitation)
    await checks.run("resource subscription on the GET stream", subscription)


async def asked_in_rounds(checks: Checks, peer: Peer) -> None:
    """What only the newer era has: rounds, and subscriptions by `subscriptions/listen`."""

    async def rounds() -> None:
        equal(await peer.text("test_input_required_result_elicitation"), "Hello, my name!")
        equal(await peer.text("test_input_required_result_sampling"), "heard What is the capital of France?")
        equal(await peer.text("test_input_required_result_list_roots"), "Client roots: file:///here")
        holds("my color" in await peer.text("test_input_required_result_multi_round"), "the third round's answer")
        holds("state-ok" in await peer.text("test_input_required_result_request_state"), "the state that came back")

    async def prompt_rounds() -> None:
        prompt = await peer.client.get_prompt("test_input_required_result_prompt")
        equal(prompt.messages[0].content.text, "Use this context: my context")

    async def listen() -> None:
        async with peer.client.listen(tools_list_changed=True, resource_subscriptions=[WATCHED]) as subscription:
            events = aiter(subscription)
            await peer.text("test_trigger_prompt_change")
            await peer.text("test_trigger_tool_change")
            equal(await anext(events), ToolsListChanged())
            await peer.text("test_update_resource")
            equal(await anext(events), ResourceUpdated(uri=WATCHED))

    await checks.run("rounds", rounds)
    await checks.run("rounds of a prompt", prompt_rounds)
    await checks.run("subscription", listen)


async def era(url: str, mode: str, wanted_version: str) -> Checks:
    checks = Checks(f"2.x {mode} ")
    peer = Peer(url, mode)
    try:
        async with peer.client:
            await basics(checks, peer, wanted_version)
            await calls(checks, peer)
            await streams(checks, peer)
            await (asked_in_rounds if peer.is_modern else asked_by_request)(checks, peer)
    except Exception as error:
        async def connected(error: Exception = error) -> None:
            raise error

        await checks.run("connection", connected)
    return checks


async def main(url: str) -> None:
    finish(await era(url, "legacy", LEGACY), await era(url, MODERN, MODERN), await era(url, "auto", MODERN))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
