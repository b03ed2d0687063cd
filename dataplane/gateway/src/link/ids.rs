//! Small typed indices, so that a route can never be taken for a node.

/// A node's slot in every shard's page. Stable for the life of the process: the publisher gives the same
/// node (group, name and address) the same slot in each snapshot, so that pools and counters survive reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId(pub u16);

/// Index of a group in [`Snapshot::groups`](super::Snapshot).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupIndex(pub u16);

/// Index of a listener, fixed at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u16);

/// Index of a route in [`Snapshot::routes`](super::Snapshot) and in every shard's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouteIndex(pub u16);

/// Most nodes that one process can stand in front of at a time; sizes the pages.
pub const ENDPOINTS_MAX: usize = 4096;
/// Most routes in a snapshot; sizes the pages.
pub const ROUTES_MAX: usize = 1024;
/// Most listeners of a process; sizes the pages.
pub const LISTENERS_MAX: usize = 64;
/// The route index of a request that no route matched.
pub const NO_ROUTE: RouteIndex = RouteIndex(u16::MAX);
/// The endpoint of a request that reached none.
pub const NO_ENDPOINT: EndpointId = EndpointId(u16::MAX);

const _: () = assert!(ENDPOINTS_MAX < NO_ENDPOINT.0 as usize && ROUTES_MAX < NO_ROUTE.0 as usize);
