//! Snapshots of what channels do.

/// Counters of one channel.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ChannelCounts {
    /// Messages put in so far.
    pub sent: u64,
    /// Messages taken out so far (dropped ones included).
    pub received: u64,
    /// Messages inside now.
    pub depth: u64,
    /// The greatest depth that a sender has found.
    pub high_water: u64,
    /// Senders that wait now.
    pub blocked_senders: u64,
    /// Receivers that wait now.
    pub blocked_receivers: u64,
}
