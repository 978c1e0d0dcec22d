//! Why an operation on a channel did not happen.

/// Why a send did not happen. Every variant hands the message back.
#[derive(Debug, PartialEq, Eq)]
pub enum SendError<T> {
    /// There is no room now (only from a try).
    Full(T),
    /// The channel is closed, or its last receiver is gone.
    Closed(T),
    /// The channel was poisoned.
    Poisoned(T),
    /// There was no room before the deadline.
    TimedOut(T),
    /// The wait was interrupted.
    Interrupted(T),
}

/// Why a receive did not happen.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum RecvError {
    /// Nothing is there now (only from a try).
    Empty,
    /// The channel is closed and drained.
    Closed,
    /// The channel was poisoned.
    Poisoned,
    /// Nothing came before the deadline.
    TimedOut,
    /// The wait was interrupted.
    Interrupted,
}

/// Why a batch was not sent to its end.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// There is no more room now (only from a try).
    Full,
    /// The channel is closed, or its last receiver is gone.
    Closed,
    /// The channel was poisoned.
    Poisoned,
    /// There was no room before the deadline.
    TimedOut,
    /// The wait was interrupted.
    Interrupted,
}

impl<T> SendError<T> {
    /// The message that was not sent.
    pub fn into_message(self) -> T {
        match self {
            Self::Full(message)
            | Self::Closed(message)
            | Self::Poisoned(message)
            | Self::TimedOut(message)
            | Self::Interrupted(message) => message,
        }
    }

    /// The same without the message.
    pub fn reason(&self) -> Blocked {
        match self {
            Self::Full(_) => Blocked::Full,
            Self::Closed(_) => Blocked::Closed,
            Self::Poisoned(_) => Blocked::Poisoned,
            Self::TimedOut(_) => Blocked::TimedOut,
            Self::Interrupted(_) => Blocked::Interrupted,
        }
    }
}

impl Blocked {
    /// The same with the message that was not sent.
    pub fn with<T>(self, message: T) -> SendError<T> {
        match self {
            Self::Full => SendError::Full(message),
            Self::Closed => SendError::Closed(message),
            Self::Poisoned => SendError::Poisoned(message),
            Self::TimedOut => SendError::TimedOut(message),
            Self::Interrupted => SendError::Interrupted(message),
        }
    }
}
