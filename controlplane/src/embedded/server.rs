//! The node as the SDK sees it: capabilities and the dispatch of each method to the module that owns it.
//!
//! One [`Node`] is made per session of the older era and per request of the newer one; what outlives them is in
//! [`Shared`]. Never holds a lock across an await.

#![expect(
    deprecated,
    reason = "logging and resources/subscribe are gone in 2026-07-28, but peers of the older era use them"
)]

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CompleteRequestParams, CompleteResult,
        GetPromptRequestParams, GetPromptResponse, Implementation, InitializeRequestParams, InitializeResult,
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, LoggingLevel,
        LoggingMessageNotificationParam, PaginatedRequestParams, ProtocolVersion, ReadResourceRequestParams,
        ReadResourceResponse, RequestStateCodec, ServerCapabilities, ServerConfig, SetLevelRequestParams,
        SubscribeRequestParams, SubscriptionFilter, Tool, UnsubscribeRequestParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    changes::{self, Change, Changes},
    prompts, resources, tools,
};

/// Resource URIs that one session may watch.
const WATCHED_PER_SESSION_MAX: usize = 64;
/// How long a client may take to answer what the node asks of it.
pub(super) const CLIENT_ANSWER_WAIT_MAX: Duration = Duration::from_secs(60);

/// What all sessions and requests of a node share.
pub(super) struct Shared {
    pub(super) changes: Changes,
    /// Seals the state that clients carry between the rounds of a request.
    pub(super) seal: RequestStateCodec,
    pub(super) stop: CancellationToken,
    /// One permit per session of the older era.
    places: Arc<Semaphore>,
}

impl Shared {
    /// # Errors
    /// When the kernel's source of randomness cannot be read.
    pub(super) fn new(stop: CancellationToken, sessions_max: usize) -> io::Result<Self> {
        let mut key = [0_u8; RequestStateCodec::MIN_KEY_LENGTH];
        File::open("/dev/urandom")?.read_exact(&mut key)?;
        let seal = RequestStateCodec::try_new(key).map_err(io::Error::other)?;
        Ok(Self { changes: Changes::new(), seal, stop, places: Arc::new(Semaphore::new(sessions_max)) })
    }
}

/// What a session of the older era keeps between its requests.
pub(super) struct SessionState {
    log_level: Mutex<LoggingLevel>,
    watched: Mutex<BTreeSet<String>>,
}

impl SessionState {
    pub(super) fn watches(&self, uri: &str) -> bool {
        lock(&self.watched).contains(uri)
    }
}

/// The handler of one session or one stateless request.
pub(super) struct Node {
    pub(super) shared: Arc<Shared>,
    session: Arc<SessionState>,
    /// Subscribed when the node is made, so that no change is lost between acknowledging and listening.
    changes: Mutex<Option<broadcast::Receiver<Change>>>,
    /// Taken by `initialize`, given back with the node.
    place: Mutex<Option<OwnedSemaphorePermit>>,
    ended: CancellationToken,
    _ends_with_node: DropGuard,
}

impl Node {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let ended = shared.stop.child_token();
        Self {
            changes: Mutex::new(Some(shared.changes.subscribe())),
            shared,
            session: Arc::new(SessionState {
                log_level: Mutex::new(LoggingLevel::Info),
                watched: Mutex::new(BTreeSet::new()),
            }),
            place: Mutex::new(None),
            _ends_with_node: ended.clone().drop_guard(),
            ended,
        }
    }

    /// Sends a log message to the client when it wants messages of this level: a session says so by
    /// `logging/setLevel`, a stateless request by its own `_meta`, else none is sent.
    pub(super) async fn log(&self, context: &RequestContext<RoleServer>, level: LoggingLevel, text: &str) {
        let wanted = if is_stateless(context) {
            context.meta.log_level()
        } else {
            Some(*lock(&self.session.log_level))
        };
        if wanted.is_none_or(|lowest| (level as u8) < lowest as u8) {
            return;
        }
        let message = LoggingMessageNotificationParam::new(level, text.into()).with_logger("embedded-node");
        if let Err(error) = context.peer.notify_logging_message(message).await {
            tracing::debug!(%error, "client went away before a log message");
        }
    }
}

/// Whether the request speaks a revision without sessions.
pub(super) fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    // Versions are dates and compare as text.
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
}

/// Locks; the data under these locks is valid after any panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ServerHandler for Node {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_completions()
            .enable_logging()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_tools()
            .enable_tool_list_changed()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("erlmcp-embedded", env!("CARGO_PKG_VERSION"))
                    .with_title("erlmcp embedded node")
                    .with_description("The MCP node that answers when the gateway was started before no other server"),
            )
            .with_instructions(
                "A demonstration and test server behind an erlmcp gateway. Call `echo` or `node_info` to see that it \
                 answers, `count` to see a stream.",
            )
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let Ok(place) = Arc::clone(&self.shared.places).try_acquire_owned() else {
            return Err(ErrorData::internal_error("too many sessions on this node; try again later", None));
        };
        *lock(&self.place) = Some(place);
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        prompts::complete(&request)
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        if is_stateless(&context) {
            return Err(ErrorData::method_not_found::<rmcp::model::SetLevelRequestMethod>());
        }
        *lock(&self.session.log_level) = request.level;
        Ok(())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(prompts::list(self.shared.changes.has_extra_prompt()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        prompts::get(self, &request, &context)
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(resources::list())
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(resources::templates())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri, self.shared.changes.watched_revision())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        let mut watched = lock(&self.session.watched);
        if watched.len() >= WATCHED_PER_SESSION_MAX && !watched.contains(&request.uri) {
            let message = format!(
                "a session may watch {WATCHED_PER_SESSION_MAX} resources; unsubscribe from one first"
            );
            return Err(ErrorData::invalid_request(message, None));
        }
        watched.insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        lock(&self.session.watched).remove(&request.uri);
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(changes::accepted(requested))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let Some(changes) = lock(&self.changes).take() else {
            return Err(ErrorData::internal_error("this request listens already", None));
        };
        changes::listen(changes, &context, &self.shared.stop).await;
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        // A second `initialized` finds no receiver and changes nothing.
        if let Some(changes) = lock(&self.changes).take() {
            tokio::spawn(changes::tell_session(
                changes,
                context.peer,
                Arc::clone(&self.session),
                self.ended.clone(),
            ));
        }
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(tools::list(self.shared.changes.has_extra_tool()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tools::call(self, &request, &context).await
    }
}
