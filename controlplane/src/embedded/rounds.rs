//! Requests that take several rounds (SEP-2322, revision 2026-07-28): the node answers "input required" and the client
//! asks again with the answers.
//!
//! Stateless: what the node must remember travels sealed in `requestState`, bound to the name that it was made for.
//! Never asks for what the client did not declare that it can do, and never trusts a state that it did not seal.

#![expect(
    deprecated,
    reason = "sampling and roots are deprecated, but a server of this revision may still ask for them"
)]

use std::{collections::BTreeSet, time::Duration};

use rmcp::{
    ErrorData, RoleServer,
    model::{
        CallToolRequestParams, CallToolResponse, ClientCapabilities, CreateMessageResult, ElicitResult,
        ElicitationAction, GetPromptRequestParams, InputRequest, InputRequests, InputRequiredResult,
        InputResponses, ListRootsResult, SealOptions,
    },
    service::RequestContext,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{content, server::Node};

/// How long a client may take from one round to the next.
const STATE_TTL: Duration = Duration::from_secs(600);

/// What the node can ask a client for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Elicitation,
    Sampling,
    Roots,
}

/// One question to the client.
pub(super) struct Ask {
    key: &'static str,
    kind: Kind,
    /// The form field that carries the answer of an elicitation.
    field: &'static str,
    request: Value,
}

impl Ask {
    /// A form with one required text field.
    pub(super) fn form(key: &'static str, message: &str, field: &'static str) -> Self {
        Self::form_of(key, message, field, "string")
    }

    /// A form with one required yes-or-no field.
    fn confirmation(key: &'static str, message: &str, field: &'static str) -> Self {
        Self::form_of(key, message, field, "boolean")
    }

    fn form_of(key: &'static str, message: &str, field: &'static str, kind: &str) -> Self {
        let schema =
            json!({ "type": "object", "properties": { field: { "type": kind } }, "required": [field] });
        let params = json!({ "message": message, "requestedSchema": schema });
        Self {
            key,
            kind: Kind::Elicitation,
            field,
            request: json!({ "method": "elicitation/create", "params": params }),
        }
    }

    fn sampling(key: &'static str, prompt: &str, tokens_max: u32) -> Self {
        let message = json!({ "role": "user", "content": { "type": "text", "text": prompt } });
        let params = json!({ "messages": [message], "maxTokens": tokens_max });
        Self {
            key,
            kind: Kind::Sampling,
            field: "",
            request: json!({ "method": "sampling/createMessage", "params": params }),
        }
    }

    fn roots(key: &'static str) -> Self {
        Self { key, kind: Kind::Roots, field: "", request: json!({ "method": "roots/list", "params": {} }) }
    }
}

/// One round of a request: who asks, and what the client brought along.
pub(super) struct Round<'a> {
    node: &'a Node,
    /// Tool or prompt; a state sealed for another one does not open.
    name: &'a str,
    capabilities: ClientCapabilities,
    responses: Option<&'a InputResponses>,
    state: Option<&'a str>,
}

impl<'a> Round<'a> {
    pub(super) fn of_tool(
        node: &'a Node,
        request: &'a CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        Self {
            node,
            name: &request.name,
            capabilities: context.client_capabilities().unwrap_or_default(),
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        }
    }

    pub(super) fn of_prompt(
        node: &'a Node,
        request: &'a GetPromptRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Self {
        Self {
            node,
            name: &request.name,
            capabilities: context.client_capabilities().unwrap_or_default(),
            responses: request.input_responses.as_ref(),
            state: request.request_state.as_deref(),
        }
    }

    /// The answer that asks for `asks`; `step` is sealed into the state that comes back with the answers.
    ///
    /// # Errors
    /// A missing client capability, named; otherwise an error of the node itself.
    pub(super) fn ask(&self, asks: &[Ask], step: Option<u32>) -> Result<InputRequiredResult, ErrorData> {
        let lacking: BTreeSet<Kind> =
            asks.iter().map(|ask| ask.kind).filter(|kind| !self.can(*kind)).collect();
        if !lacking.is_empty() {
            return Err(ErrorData::missing_required_client_capability(declaring(&lacking)));
        }
        let mut requests = InputRequests::new();
        for ask in asks {
            let request: InputRequest = serde_json::from_value(ask.request.clone()).map_err(own_error)?;
            requests.insert(ask.key.to_owned(), request);
        }
        let options = SealOptions::new().associated_data(self.name.as_bytes()).ttl(STATE_TTL);
        let state = step.map(|step| self.node.shared.seal.seal_json_with(&step, &options)).transpose();
        Ok(InputRequiredResult::new(Some(requests), state.map_err(own_error)?))
    }

    /// The step sealed into the state that the client brought, if it brought one.
    ///
    /// # Errors
    /// Invalid parameters when the state was altered, has expired or was made for another request; which of these is
    /// not told.
    fn step(&self) -> Result<Option<u32>, ErrorData> {
        let open = |state| self.node.shared.seal.open_json_with(state, self.name.as_bytes());
        self.state.map(open).transpose().map_err(|error| {
            tracing::debug!(%error, name = self.name, "refused a request state");
            ErrorData::invalid_params("requestState is not valid; start again without it", None)
        })
    }

    /// The response to `ask`, or `None` when the client brought none.
    ///
    /// # Errors
    /// Invalid parameters when it has the wrong shape.
    fn response<T: DeserializeOwned>(&self, ask: &Ask) -> Result<Option<T>, ErrorData> {
        let Some(response) = self.responses.and_then(|responses| responses.get(ask.key)) else {
            return Ok(None);
        };
        T::deserialize(response)
            .map(Some)
            .map_err(|error| ErrorData::invalid_params(format!("inputResponses.{}: {error}", ask.key), None))
    }

    /// The field of an accepted form as text; `None` when the client brought no response.
    ///
    /// # Errors
    /// Invalid parameters when the response has the wrong shape, or was declined.
    pub(super) fn text_of(&self, ask: &Ask) -> Result<Option<String>, ErrorData> {
        let Some(response) = self.response::<ElicitResult>(ask)? else { return Ok(None) };
        if response.action != ElicitationAction::Accept {
            return Err(ErrorData::invalid_params(
                format!("inputResponses.{}: was not accepted", ask.key),
                None,
            ));
        }
        match response.content.as_ref().and_then(|content| content.get(ask.field)) {
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) if !other.is_null() => Ok(Some(other.to_string())),
            _ => Err(ErrorData::invalid_params(
                format!("inputResponses.{}: {} is missing", ask.key, ask.field),
                None,
            )),
        }
    }

    fn sampled_text(&self, ask: &Ask) -> Result<Option<String>, ErrorData> {
        let response = self.response::<CreateMessageResult>(ask)?;
        Ok(response.map(|result| {
            result
                .message
                .content
                .first()
                .and_then(|block| block.as_text())
                .map_or_else(String::new, |text| text.text.clone())
        }))
    }

    fn root_uris(&self, ask: &Ask) -> Result<Option<String>, ErrorData> {
        let response = self.response::<ListRootsResult>(ask)?;
        Ok(response
            .map(|result| result.roots.iter().map(|root| root.uri.as_str()).collect::<Vec<_>>().join(", ")))
    }

    fn can(&self, kind: Kind) -> bool {
        match kind {
            Kind::Elicitation => self.capabilities.elicitation.is_some(),
            Kind::Sampling => self.capabilities.sampling.is_some(),
            Kind::Roots => self.capabilities.roots.is_some(),
        }
    }
}

/// The capabilities that a client must declare to be asked for `kinds`.
fn declaring(kinds: &BTreeSet<Kind>) -> ClientCapabilities {
    let mut capabilities = ClientCapabilities::default();
    for kind in kinds {
        match kind {
            Kind::Elicitation => capabilities.elicitation = Some(Default::default()),
            Kind::Sampling => capabilities.sampling = Some(Default::default()),
            Kind::Roots => capabilities.roots = Some(Default::default()),
        }
    }
    capabilities
}

/// The error for a client that declares no sampling.
pub(super) fn sampling_missing() -> ErrorData {
    ErrorData::missing_required_client_capability(declaring(&BTreeSet::from([Kind::Sampling])))
}

fn own_error(error: impl std::fmt::Display) -> ErrorData {
    ErrorData::internal_error(error.to_string(), None)
}

/// Asks the client's user for a name, then greets.
pub(super) fn elicitation(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let ask = Ask::form("user_name", "What is your name?", "name");
    match round.text_of(&ask)? {
        Some(name) => Ok(content::text(format!("Hello, {name}!")).into()),
        None => Ok(round.ask(&[ask], None)?.into()),
    }
}

/// Asks the client's model a question and repeats its answer.
pub(super) fn sampling(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let ask = Ask::sampling("capital_question", "What is the capital of France?", 100);
    match round.sampled_text(&ask)? {
        Some(answer) => Ok(content::text(answer).into()),
        None => Ok(round.ask(&[ask], None)?.into()),
    }
}

/// Asks for the client's roots and names them.
pub(super) fn list_roots(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let ask = Ask::roots("client_roots");
    match round.root_uris(&ask)? {
        Some(uris) => Ok(content::text(format!("Client roots: {uris}")).into()),
        None => Ok(round.ask(&[ask], None)?.into()),
    }
}

/// Asks for a confirmation and checks that the sealed state came back.
pub(super) fn request_state(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let ask = Ask::confirmation("confirm", "Please confirm", "ok");
    let step = round.step()?;
    match (round.text_of(&ask)?, step) {
        (Some(confirmed), Some(1)) => Ok(content::text(format!("state-ok, confirmed: {confirmed}")).into()),
        (Some(_), _) => Err(ErrorData::invalid_params("requestState is missing", None)),
        (None, _) => Ok(round.ask(&[ask], Some(1))?.into()),
    }
}

/// Asks for everything at once.
pub(super) fn multiple_inputs(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let name = Ask::form("user_name", "What is your name?", "name");
    let greeting = Ask::sampling("greeting", "Generate a greeting", 50);
    let roots = Ask::roots("client_roots");
    round.step()?;
    match (round.text_of(&name)?, round.sampled_text(&greeting)?, round.root_uris(&roots)?) {
        (Some(name), Some(greeting), Some(roots)) => {
            Ok(content::text(format!("{greeting} ({name}, working in {roots})")).into())
        }
        _ => Ok(round.ask(&[name, greeting, roots], Some(1))?.into()),
    }
}

/// Asks twice, the second time for something else; the state says which answer is due.
pub(super) fn multi_round(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let name = Ask::form("step1", "Step 1: What is your name?", "name");
    let color = Ask::form("step2", "Step 2: What is your favorite color?", "color");
    match round.step()? {
        Some(2) => match round.text_of(&color)? {
            Some(color) => Ok(content::text(format!("All steps done; favorite color: {color}")).into()),
            None => Ok(round.ask(&[color], Some(2))?.into()),
        },
        Some(1) if round.text_of(&name)?.is_some() => Ok(round.ask(&[color], Some(2))?.into()),
        _ => Ok(round.ask(&[name], Some(1))?.into()),
    }
}

/// Asks only for what the client declared that it can do.
pub(super) fn capabilities(round: &Round<'_>) -> Result<CallToolResponse, ErrorData> {
    let asks = [
        Ask::form("user_name", "What is your name?", "name"),
        Ask::sampling("greeting", "Generate a greeting", 50),
        Ask::roots("client_roots"),
    ];
    if round.responses.is_some() {
        return Ok(content::text("Input received.").into());
    }
    let possible: Vec<Ask> = asks.into_iter().filter(|ask| round.can(ask.kind)).collect();
    if possible.is_empty() {
        return Ok(content::text("The client declares nothing that could be asked of it.").into());
    }
    Ok(round.ask(&possible, None)?.into())
}
