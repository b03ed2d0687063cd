//! The tools: what each is called, takes and does.
//!
//! The list is one table; each name is dispatched once. Never keeps state of its own.

use std::sync::{Arc, LazyLock};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        Tool,
    },
    service::RequestContext,
};
use serde_json::{Map, Value, json};

use super::{
    ask,
    changes::Change,
    content::{self, PNG_BASE64, WAV_BASE64},
    rounds::{self, Round},
    server::{Node, is_stateless},
    stream,
};

/// Largest answer of `large_text` in bytes.
const LARGE_TEXT_BYTES_MAX: u64 = 1 << 20;
/// The tool that `test_trigger_tool_change` adds and removes.
const EXTRA_TOOL: &str = "test_extra_tool";

/// Every tool but the extra one, in the order in which they are listed.
static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| {
    let mut tools = newcomer_tools();
    tools.extend(content_tools());
    tools.extend(client_tools());
    tools.extend(round_tools());
    tools
});

/// All tools; with the extra one while it is switched on.
pub(super) fn list(with_extra: bool) -> ListToolsResult {
    let mut tools = TOOLS.clone();
    tools.extend(with_extra.then(extra_tool));
    ListToolsResult::with_all_items(tools).with_ttl_ms(0).with_cache_scope(CacheScope::Public)
}

/// The tool called `name`, if there is one at any time.
pub(super) fn find(name: &str) -> Option<Tool> {
    TOOLS.iter().find(|tool| tool.name == name).cloned().or_else(|| (name == EXTRA_TOOL).then(extra_tool))
}

/// Calls the tool that `request` names.
///
/// # Errors
/// Invalid parameters for an unknown tool or a wrong argument; a missing client capability; what a client answered.
pub(super) async fn call(
    node: &Node,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let round = Round::of_tool(node, request, context);
    match request.name.as_ref() {
        "test_input_required_result_elicitation" => return rounds::elicitation(&round),
        "test_input_required_result_sampling" => return rounds::sampling(&round),
        "test_input_required_result_list_roots" => return rounds::list_roots(&round),
        "test_input_required_result_request_state" | "test_input_required_result_tampered_state" => {
            return rounds::request_state(&round);
        }
        "test_input_required_result_multiple_inputs" => return rounds::multiple_inputs(&round),
        "test_input_required_result_multi_round" => return rounds::multi_round(&round),
        "test_input_required_result_capabilities" => return rounds::capabilities(&round),
        "test_streaming_elicitation" if is_stateless(context) => {
            stream::with_progress(context).await?;
            return rounds::elicitation(&round);
        }
        _ => {}
    }
    let result = match request.name.as_ref() {
        "test_sampling" => ask::sampling(context, text(request, "prompt")?).await?,
        "test_elicitation" => ask::elicitation(context, text(request, "message")?).await?,
        "test_streaming_elicitation" => ask::elicitation(context, "What is your name?").await?,
        "test_elicitation_sep1034_defaults" => ask::elicitation_with_defaults(context).await?,
        "test_elicitation_sep1330_enums" => ask::elicitation_with_enums(context).await?,
        "test_missing_capability" => needs_sampling(context)?,
        "test_tool_with_logging" | "test_logging_tool" => stream::with_logging(node, context).await?,
        "test_tool_with_progress" => stream::with_progress(context).await?,
        "count" => {
            stream::count(context, number(request, "to", 10)?, number(request, "wait_ms", 100)?).await?
        }
        "test_trigger_tool_change" => changed(node, Change::Tools),
        "test_trigger_prompt_change" => changed(node, Change::Prompts),
        "test_update_resource" => changed(node, Change::WatchedResource),
        EXTRA_TOOL if node.shared.changes.has_extra_tool() => content::text("This tool comes and goes."),
        _ => immediate(request, context)?,
    };
    Ok(result.into())
}

/// Tools that answer at once and from their arguments alone.
fn immediate(
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResult, ErrorData> {
    Ok(match request.name.as_ref() {
        "node_info" => node_info(context),
        "echo" => content::text(text(request, "text")?),
        "large_text" => large_text(number(request, "bytes", 65_536)?),
        "test_simple_text" => content::text("This is a simple text response for testing."),
        "test_image_content" => CallToolResult::success(vec![ContentBlock::image(PNG_BASE64, "image/png")]),
        "test_audio_content" => CallToolResult::success(vec![ContentBlock::audio(WAV_BASE64, "audio/wav")]),
        "test_embedded_resource" => CallToolResult::success(vec![ContentBlock::embedded_text(
            "test://embedded-resource",
            "This is an embedded resource content.",
        )]),
        "test_multiple_content_types" => content::mixed(),
        "test_error_handling" => CallToolResult::error(vec![ContentBlock::text(
            "This tool intentionally returns an error for testing",
        )]),
        "json_schema_2020_12_tool" => content::text(Value::Object(arguments(request)).to_string()),
        "test_header_parameter" => content::text(format!("Region: {}", text(request, "region")?)),
        unknown => return Err(ErrorData::invalid_params(format!("unknown tool: {unknown}"), None)),
    })
}

fn node_info(context: &RequestContext<RoleServer>) -> CallToolResult {
    let info = json!({
        "name": "erlmcp-embedded",
        "version": env!("CARGO_PKG_VERSION"),
        "process": std::process::id(),
        "protocolVersion": context.protocol_version(),
    });
    CallToolResult::structured(info)
}

/// A text of `bytes` bytes that no position repeats for the reader of a diff: counted lines.
fn large_text(bytes: u64) -> CallToolResult {
    let bytes = usize::try_from(bytes.min(LARGE_TEXT_BYTES_MAX)).unwrap_or(0);
    let mut text = String::with_capacity(bytes + 16);
    for line in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(&format!("line {line:08}\n"));
    }
    text.truncate(bytes);
    content::text(text)
}

fn needs_sampling(context: &RequestContext<RoleServer>) -> Result<CallToolResult, ErrorData> {
    let declared = context.client_capabilities().is_some_and(|client| client.sampling.is_some());
    if declared {
        Ok(content::text("The client declares sampling."))
    } else {
        Err(rounds::sampling_missing())
    }
}

fn changed(node: &Node, change: Change) -> CallToolResult {
    node.shared.changes.make(change);
    content::text(format!("Changed: {change:?}"))
}

fn arguments(request: &CallToolRequestParams) -> Map<String, Value> {
    request.arguments.clone().unwrap_or_default()
}

/// A required text argument.
fn text<'a>(request: &'a CallToolRequestParams, name: &str) -> Result<&'a str, ErrorData> {
    let value = request.arguments.as_ref().and_then(|arguments| arguments.get(name));
    value.and_then(Value::as_str).ok_or_else(|| wrong(request, name, "a string, and required"))
}

/// An optional argument that is a whole number.
fn number(request: &CallToolRequestParams, name: &str, default: u64) -> Result<u64, ErrorData> {
    match request.arguments.as_ref().and_then(|arguments| arguments.get(name)) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => value.as_u64().ok_or_else(|| wrong(request, name, "a whole number of at least 0")),
    }
}

fn wrong(request: &CallToolRequestParams, name: &str, expected: &str) -> ErrorData {
    ErrorData::invalid_params(format!("tool {}: argument {name} must be {expected}", request.name), None)
}

/// A tool with the given JSON Schema of its arguments.
fn tool(name: &'static str, description: &'static str, schema: Value) -> Tool {
    let schema = match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    };
    Tool::new(name, description, Arc::new(schema))
}

/// A tool without arguments.
fn plain(name: &'static str, description: &'static str) -> Tool {
    tool(name, description, json!({ "type": "object", "properties": {} }))
}

fn extra_tool() -> Tool {
    plain(EXTRA_TOOL, "Comes and goes with test_trigger_tool_change")
}

fn newcomer_tools() -> Vec<Tool> {
    let one_text = |description: &str| json!({ "type": "string", "description": description });
    let bounded = |description: &str, max: u64| json!({ "type": "integer", "minimum": 0, "maximum": max, "description": description });
    vec![
        plain("node_info", "Says which node answered: name, version, process and protocol version"),
        tool(
            "echo",
            "Repeats its text",
            json!({ "type": "object", "properties": { "text": one_text("What to repeat") }, "required": ["text"] }),
        ),
        tool(
            "count",
            "Counts up, one progress notification per step: shows how a stream arrives",
            json!({ "type": "object", "properties": {
                "to": bounded("Steps; 10 when absent", stream::COUNT_STEPS_MAX),
                "wait_ms": bounded("Milliseconds before each step; 100 when absent", stream::COUNT_WAIT_MS_MAX),
            }}),
        ),
        tool(
            "large_text",
            "Answers with a text of the given size",
            json!({ "type": "object", "properties": {
                "bytes": bounded("Bytes; 65536 when absent", LARGE_TEXT_BYTES_MAX),
            }}),
        ),
    ]
}

fn content_tools() -> Vec<Tool> {
    vec![
        plain("test_simple_text", "Answers with a text"),
        plain("test_image_content", "Answers with an image"),
        plain("test_audio_content", "Answers with a sound"),
        plain("test_embedded_resource", "Answers with an embedded resource"),
        plain("test_multiple_content_types", "Answers with a text, an image and a resource"),
        plain("test_error_handling", "Always fails"),
        plain("test_tool_with_logging", "Sends three log messages while it runs"),
        plain("test_logging_tool", "Sends log messages to clients that asked for them"),
        plain("test_tool_with_progress", "Reports progress three times while it runs"),
        tool("json_schema_2020_12_tool", "Tool with JSON Schema 2020-12 features", schema_2020_12()),
        tool(
            "test_header_parameter",
            "Takes a parameter that its caller mirrors into a header (SEP-2243)",
            json!({ "type": "object", "required": ["region"], "properties": {
                "region": { "type": "string", "description": "A region's name", "x-mcp-header": "Region" },
            }}),
        ),
    ]
}

fn client_tools() -> Vec<Tool> {
    let one = |name: &str, description: &str| json!({ "type": "object", "properties": { name: { "type": "string", "description": description } }, "required": [name] });
    vec![
        tool(
            "test_sampling",
            "Has the client's model answer a prompt",
            one("prompt", "The prompt to send to the LLM"),
        ),
        tool("test_elicitation", "Asks the client's user", one("message", "The message to show the user")),
        plain("test_elicitation_sep1034_defaults", "Asks the client's user with default values"),
        plain("test_elicitation_sep1330_enums", "Asks the client's user to choose"),
        plain("test_streaming_elicitation", "Reports progress, then asks the client's user"),
        plain("test_missing_capability", "Refuses clients that declare no sampling"),
        plain("test_trigger_tool_change", "Adds or removes the extra tool and tells who listens"),
        plain("test_trigger_prompt_change", "Adds or removes the extra prompt and tells who listens"),
        plain("test_update_resource", "Gives the watched resource a new revision and tells who watches it"),
    ]
}

fn round_tools() -> Vec<Tool> {
    vec![
        plain("test_input_required_result_elicitation", "Asks for a name in a second round"),
        plain("test_input_required_result_sampling", "Asks the client's model in a second round"),
        plain("test_input_required_result_list_roots", "Asks for the client's roots in a second round"),
        plain(
            "test_input_required_result_request_state",
            "Asks for a confirmation and checks the state that returns",
        ),
        plain("test_input_required_result_multiple_inputs", "Asks for three things in a second round"),
        plain("test_input_required_result_multi_round", "Asks in a second and in a third round"),
        plain("test_input_required_result_tampered_state", "Refuses a state that was altered"),
        plain("test_input_required_result_capabilities", "Asks only for what the client can do"),
    ]
}

fn schema_2020_12() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            },
        },
        "properties": {
            "name": { "type": "string" },
            "address": { "$ref": "#/$defs/address" },
            "contactMethod": { "type": "string", "enum": ["phone", "email"] },
            "phone": { "type": "string" },
            "email": { "type": "string" },
        },
        "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
        "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
        "then": { "required": ["phone"] },
        "else": { "required": ["email"] },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_within_the_specifications_alphabet() {
        let tools = list(true).tools;
        let names: BTreeSet<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(names.len(), tools.len());
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{name}");
            assert!(find(name).is_some(), "{name}");
        }
        assert_eq!(list(true).tools.len(), list(false).tools.len() + 1);
    }

    #[test]
    fn large_text_is_exactly_as_large_and_bounded() {
        let length = |bytes| large_text(bytes).content[0].as_text().map(|text| text.text.len());
        assert_eq!(length(0), Some(0));
        assert_eq!(length(1), Some(1));
        assert_eq!(length(65_536), Some(65_536));
        assert_eq!(length(u64::MAX), Some(1 << 20));
    }
}
