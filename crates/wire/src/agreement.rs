//! Whether the services that must run one risk policy do.
//!
//! ```text
//!  brain ◀── heartbeat ── risk-guard        Each carries the digest of the policy that its sender
//!    │ ▲ ╰───── order ────────▶ │ ▲         runs. Whoever reads another digest than its own lets
//!    │ ╰────── status ──╮       │ │         nothing pass, and says so once.
//!    │                  │       │ │
//!    ╰ ·············· execution ◀─╯
//! ```

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};

use portcullis_domain::{Hash, RateLimit, Timestamp};

use crate::Text;
use crate::messages::Notice;
use crate::principal::Role;

/// The most notices in a second. What is held back is told with the next message, if it still holds.
const NOTICES_PER_SECOND_MAX: u32 = 4;
/// So many digits of a digest tell two policies apart for a person.
const DIGITS_SHOWN: usize = 12;

/// What one service heard of the policies that others run.
#[derive(Clone, Debug)]
pub struct Agreement {
    service: Role,
    own: Hash,
    others: BTreeMap<Role, Other>,
    notices: RateLimit,
}

#[derive(Clone, Copy, Debug)]
struct Other {
    runs: Hash,
    /// What is on record; at first that it agrees, which nobody has to be told.
    told: Hash,
}

impl Agreement {
    /// A service that heard of nobody yet, and the policy that it runs itself.
    #[must_use]
    pub fn new(service: Role, own: Hash) -> Self {
        Self {
            service,
            own,
            others: BTreeMap::new(),
            notices: RateLimit::new(NOTICES_PER_SECOND_MAX),
        }
    }

    /// Takes what another service says that it runs; a notice where that is news.
    pub fn heard(&mut self, now: Timestamp, other: Role, policy: Hash) -> Option<Notice> {
        let own = self.own;
        let known = self.others.entry(other).or_insert(Other {
            runs: own,
            told: own,
        });
        known.runs = policy;
        if known.told == policy || !self.notices.take(now) {
            return None;
        }
        known.told = policy;
        Some(Notice::Policy {
            service: Text::lossy(other.name()),
            runs: policy,
            own,
        })
    }

    /// Which service runs which policy, in words; `None` while all that were heard agree.
    #[must_use]
    pub fn mismatch(&self) -> Option<String> {
        let mut words = String::new();
        for (other, known) in &self.others {
            if known.runs != self.own {
                words.push_str(&format!("{other} runs policy {}, ", shown(known.runs)));
            }
        }
        (!words.is_empty()).then(|| format!("{words}{} {}", self.service, shown(self.own)))
    }

    /// Every service that was heard, and whether it agrees.
    pub fn others(&self) -> impl Iterator<Item = (Role, bool)> {
        self.others
            .iter()
            .map(|(other, known)| (*other, known.runs == self.own))
    }
}

fn shown(policy: Hash) -> String {
    policy.to_string().chars().take(DIGITS_SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use portcullis_domain::Span;

    use super::*;

    const NOW: Timestamp = Timestamp(1_790_000_000_000_000);
    const OWN: Hash = Hash([7; 32]);
    const OTHER: Hash = Hash([8; 32]);

    fn notice(runs: Hash) -> Option<Notice> {
        Some(Notice::Policy {
            service: Text::lossy("risk-guard"),
            runs,
            own: OWN,
        })
    }

    #[test]
    fn each_change_is_told_once_and_agreement_from_the_start_not_at_all() {
        let mut agreement = Agreement::new(Role::Brain, OWN);
        let third = Hash([9; 32]);
        let heard = [
            (OWN, None),
            (OTHER, notice(OTHER)),
            (OTHER, None),
            (third, notice(third)),
            (OWN, notice(OWN)),
            (OWN, None),
        ];
        for (policy, expected) in heard {
            assert_eq!(agreement.heard(NOW, Role::RiskGuard, policy), expected);
            let agrees = policy == OWN;
            assert_eq!(agreement.mismatch().is_none(), agrees);
            let others: alloc::vec::Vec<_> = agreement.others().collect();
            assert_eq!(others, [(Role::RiskGuard, agrees)]);
        }
    }

    #[test]
    fn the_words_name_who_runs_what() {
        let mut agreement = Agreement::new(Role::Brain, OWN);
        agreement.heard(NOW, Role::Execution, OWN);
        agreement.heard(NOW, Role::RiskGuard, OTHER);
        assert_eq!(
            agreement.mismatch().as_deref(),
            Some("risk-guard runs policy 080808080808, brain 070707070707")
        );
        agreement.heard(NOW, Role::Execution, OTHER);
        assert_eq!(
            agreement.mismatch().as_deref(),
            Some(
                "risk-guard runs policy 080808080808, execution runs policy 080808080808, \
                 brain 070707070707"
            )
        );
    }

    #[test]
    fn who_changes_all_the_time_does_not_fill_the_record_and_the_last_word_is_told() {
        let mut agreement = Agreement::new(Role::Brain, OWN);
        let told = (0..101)
            .filter_map(|turn| {
                let policy = if turn % 2 == 0 { OTHER } else { OWN };
                agreement.heard(NOW, Role::RiskGuard, policy)
            })
            .count();
        assert_eq!(told, 4);
        let later = NOW.plus(Span::from_secs(1));
        assert_eq!(
            agreement.heard(later, Role::RiskGuard, OTHER),
            notice(OTHER)
        );
    }
}
