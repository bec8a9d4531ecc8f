//! Bugs to plant: each takes one wall down, in the simulation and never in what ships, to see that the
//! oracle says which one is missing.
//!
//! A core with a switch for bugs in it would be a core with a switch for bugs in it. So they all sit
//! around the cores: a shell that says what is not so, a disk that lies, a message that is sealed
//! again with another time.

use crate::settings::Options;

/// A bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// Execution's shell sends a placement again when no answer came in time.
    ResendsOnTimeout,
    /// The venue takes an order that came twice over the network as two.
    VenueTakesTwice,
    /// Some fills never reach execution's core, neither by the stream nor with the account.
    ForgetsFills,
    /// A fill of an order that is over never reaches execution's core.
    ForgetsLateFills,
    /// Execution's shell tells its core about each fill twice, under another id.
    BooksFillsTwice,
    /// Execution's shell says that a receipt is there as soon as its fact is sealed.
    IgnoresReceipt,
    /// Audit signs receipts for facts that it never recorded.
    ForgesReceipts,
    /// Audit's disk loses entries that it said were synced.
    LosesAuditEntries,
    /// Execution's shell lets the fact of a permit overtake older facts that wait for the disk.
    OvertakesFacts,
    /// The last heartbeat counts as if it had just come, however old it is.
    AcceptsOldHeartbeat,
    /// Risk-guard's silence cancels nothing.
    IgnoresSilence,
    /// A restart begins the day anew, at the present equity.
    ResetsDayOnRestart,
    /// The day's loss that stops trading is a hundred times as high after a restart.
    LoosensLimitOnRestart,
    /// An order that the venue does not find counts as refused, at once.
    GivesUpOnNotFound,
    /// Execution's latch is not on disk when the kill switch is acknowledged, and nobody else hears
    /// the command.
    ForgetsKill,
    /// Everything is cancelled once, and not again until the venue says that nothing is open.
    CancelsOnce,
    /// Execution's shell says that a record is on disk before it is.
    SendsBeforeSync,
    /// Execution's journal loses records that it said were synced.
    LosesJournalRecords,
    /// A last entry of the journal that is only partly on disk counts as whole.
    TakesTornTail,
    /// What is in doubt does not count as open.
    DropsDoubtfulExposure,
    /// The lifetime of a permit begins when execution gets it.
    AcceptsExpiredPermit,
    /// Every policy counts as execution's own.
    IgnoresPolicyHash,
    /// Where the venue's account differs from execution's, execution's counts.
    IgnoresDifference,
    /// Execution's shell changes an order after it was signed.
    TampersWithOrder,
    /// A journal that is begun anew lacks the facts that the stream may lack.
    ForgetsFactsAnew,
    /// Funding and transfers never reach execution's core.
    ForgetsMovements,
    /// Money that is paid in counts as won, and what is taken out as lost.
    TakesDepositForGain,
    /// Execution's shell tells of an order at the venue as it was when it left.
    IgnoresAlteration,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 28] = [
        Self::ResendsOnTimeout,
        Self::VenueTakesTwice,
        Self::ForgetsFills,
        Self::ForgetsLateFills,
        Self::BooksFillsTwice,
        Self::IgnoresReceipt,
        Self::ForgesReceipts,
        Self::LosesAuditEntries,
        Self::OvertakesFacts,
        Self::AcceptsOldHeartbeat,
        Self::IgnoresSilence,
        Self::ResetsDayOnRestart,
        Self::LoosensLimitOnRestart,
        Self::GivesUpOnNotFound,
        Self::ForgetsKill,
        Self::CancelsOnce,
        Self::SendsBeforeSync,
        Self::LosesJournalRecords,
        Self::TakesTornTail,
        Self::DropsDoubtfulExposure,
        Self::AcceptsExpiredPermit,
        Self::IgnoresPolicyHash,
        Self::IgnoresDifference,
        Self::TampersWithOrder,
        Self::ForgetsFactsAnew,
        Self::ForgetsMovements,
        Self::TakesDepositForGain,
        Self::IgnoresAlteration,
    ];

    /// What it is called on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ResendsOnTimeout => "resends-on-timeout",
            Self::VenueTakesTwice => "venue-takes-twice",
            Self::ForgetsFills => "forgets-fills",
            Self::ForgetsLateFills => "forgets-late-fills",
            Self::BooksFillsTwice => "books-fills-twice",
            Self::IgnoresReceipt => "ignores-receipt",
            Self::ForgesReceipts => "forges-receipts",
            Self::LosesAuditEntries => "loses-audit-entries",
            Self::OvertakesFacts => "overtakes-facts",
            Self::AcceptsOldHeartbeat => "accepts-old-heartbeat",
            Self::IgnoresSilence => "ignores-silence",
            Self::ResetsDayOnRestart => "resets-day-on-restart",
            Self::LoosensLimitOnRestart => "loosens-limit-on-restart",
            Self::GivesUpOnNotFound => "gives-up-on-not-found",
            Self::ForgetsKill => "forgets-kill",
            Self::CancelsOnce => "cancels-once",
            Self::SendsBeforeSync => "sends-before-sync",
            Self::LosesJournalRecords => "loses-journal-records",
            Self::TakesTornTail => "takes-torn-tail",
            Self::DropsDoubtfulExposure => "drops-doubtful-exposure",
            Self::AcceptsExpiredPermit => "accepts-expired-permit",
            Self::IgnoresPolicyHash => "ignores-policy-hash",
            Self::IgnoresDifference => "ignores-difference",
            Self::TampersWithOrder => "tampers-with-order",
            Self::ForgetsFactsAnew => "forgets-facts-anew",
            Self::ForgetsMovements => "forgets-movements",
            Self::TakesDepositForGain => "takes-deposit-for-gain",
            Self::IgnoresAlteration => "ignores-alteration",
        }
    }

    /// The bug of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    /// What the oracle may say of it: any other violation does not count as found.
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::ResendsOnTimeout => &["leaves a second time"],
            Self::VenueTakesTwice => &["the venue took order"],
            Self::ForgetsFills | Self::ForgetsLateFills => &["was never booked"],
            Self::BooksFillsTwice => &["which the venue never made"],
            Self::IgnoresReceipt | Self::ForgesReceipts => &["leaves without audit's receipt"],
            Self::LosesAuditEntries => &[
                "an entry that is not on disk",
                "an entry that is gone",
                "another entry",
            ],
            Self::OvertakesFacts => &["audit misses facts"],
            Self::AcceptsOldHeartbeat => &["leaves under a heartbeat of risk-guard that is"],
            Self::IgnoresSilence => &["though risk-guard is silent"],
            Self::ResetsDayOnRestart => &["began a second time"],
            Self::LoosensLimitOnRestart => &["is looser than"],
            Self::GivesUpOnNotFound => &["was given up"],
            Self::ForgetsKill => &["acknowledged the kill, and it is not latched on disk"],
            Self::CancelsOnce => &["does not cancel what is open"],
            Self::SendsBeforeSync => &["leaves before its acceptance is on disk"],
            Self::LosesJournalRecords => &["the journal lacks what was synced"],
            Self::TakesTornTail => &["took a torn entry for a whole one"],
            Self::DropsDoubtfulExposure => &["does not count what is open"],
            Self::AcceptsExpiredPermit => &["a live permit and a live seal of the brain"],
            Self::IgnoresPolicyHash => &["under another policy"],
            Self::IgnoresDifference => &["though the venue's account differs"],
            Self::TampersWithOrder => &["whose signature does not fit"],
            Self::ForgetsFactsAnew => &["which the stream lacks too"],
            Self::ForgetsMovements => &["(Some(VenueDiffers))", "the venue's movements"],
            Self::TakesDepositForGain => &["which the venue never made"],
            Self::IgnoresAlteration => &[
                "though somebody altered",
                "though the venue's account differs",
            ],
        }
    }

    /// Whether a violation is about this bug.
    #[must_use]
    pub fn is_named_by(self, violation: &str) -> bool {
        self.words().iter().any(|words| violation.contains(words))
    }
}

/// How a planted bug was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The first seed whose violation names the bug.
    pub seed: u64,
    /// What the oracle said.
    pub what: String,
    /// The same seed gives the same number.
    pub trace_hash: u64,
    /// How many seeds were run for it.
    pub seeds: u64,
}

/// Runs seeds from `from` until a violation names the bug; or else the first one that does not.
///
/// # Errors
/// What the oracle said instead, if anything, when `seeds` of them did not find it.
pub fn find(bug: Bug, from: u64, seeds: u64) -> Result<Found, Option<String>> {
    let mut other = None;
    for seed in from..from.saturating_add(seeds) {
        let options = Options {
            bug: Some(bug),
            ..Options::seed(seed)
        };
        let Err(violation) = crate::run(options) else {
            continue;
        };
        if bug.is_named_by(&violation.what) {
            return Ok(Found {
                seed,
                what: violation.what,
                trace_hash: violation.trace_hash,
                seeds: seed - from + 1,
            });
        }
        other.get_or_insert(violation.what);
    }
    Err(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_a_name_of_its_own() {
        for bug in Bug::ALL {
            assert_eq!(Bug::named(bug.name()), Some(bug));
        }
    }
}
