//! One group of the classic protocol: a state machine over joins, syncs and time (`GroupCoordinator`).
//!
//! Pure but for member ids, which are random.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_protocol::messages::ConsumerProtocolSubscription;
use kafka_protocol::protocol::Decodable;
use tokio::time::Instant;
use uuid::Uuid;

use super::code;
use super::commits::Committed;
use super::state::State;

type Offsets = BTreeMap<(String, i32), Committed>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Empty,
    Preparing,
    Completing,
    Stable,
}

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    session: Duration,
    rebalance: Duration,
    seen: Instant,
    /// Waits for the rebalance to complete; with which join.
    joining: bool,
    ticket: u64,
    /// Waits for the leader's assignment.
    syncing: bool,
    outcome: Option<Joined>,
}

/// What a completed join tells.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member: String,
    /// For the leader only: id, instance, metadata.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// What a join asks.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) member: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) session: Duration,
    pub(crate) rebalance: Duration,
    /// Whether a new dynamic member must come back with the id it is given (`JoinGroup` 4 and later).
    pub(crate) id_first: bool,
}

/// What a join came to.
#[derive(Debug)]
pub(crate) enum Step {
    /// At once.
    Done(Joined),
    /// Once the rebalance completes: member and ticket.
    Wait(String, u64),
    /// Kafka's code, and the member id to tell.
    Refused(i16, String),
}

/// A group.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) phase: Phase,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) members: IndexMap<String, Member>,
    pub(crate) offsets: Offsets,
    /// Offsets of open transactions, by producer id.
    pub(crate) pending: BTreeMap<i64, Offsets>,
    instances: HashMap<String, String>,
    /// Member ids given out whose owners have not come back, and until when they may.
    expected: HashMap<String, Instant>,
    deadline: Option<Instant>,
    not_before: Option<Instant>,
    tickets: u64,
}

impl Group {
    pub(crate) fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Empty => "Empty",
            Phase::Preparing => "PreparingRebalance",
            Phase::Completing => "CompletingRebalance",
            Phase::Stable => "Stable",
        }
    }

    /// Topics that members of a consumer group have subscribed to.
    pub(crate) fn subscribed(&self) -> BTreeSet<String> {
        let mut topics = BTreeSet::new();
        if self.protocol_type == "consumer" {
            for (_, metadata) in self.members.values().flat_map(|member| &member.protocols) {
                let mut metadata = metadata.clone();
                if metadata.len() > 2 {
                    let version = i16::from_be_bytes([metadata[0], metadata[1]]).clamp(0, 3);
                    let _version = metadata.split_to(2);
                    if let Ok(subscription) = ConsumerProtocolSubscription::decode(&mut metadata, version) {
                        topics.extend(subscription.topics.iter().map(ToString::to_string));
                    }
                }
            }
        }
        topics
    }

    /// Ends a transaction's offsets.
    pub(crate) fn settle(&mut self, producer_id: i64, commit: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if commit {
            self.offsets.extend(pending);
        }
    }

    /// Whether a request comes from a member of this generation; it is a sign of life.
    ///
    /// # Errors
    /// Kafka's code: 22, 25 or 82.
    pub(crate) fn check(&mut self, member: &str, instance: Option<&str>, generation: i32) -> Result<(), i16> {
        self.identify(member, instance)?;
        if generation != self.generation {
            return Err(code::ILLEGAL_GENERATION);
        }
        if let Some(known) = self.members.get_mut(member) {
            known.seen = Instant::now();
        }
        Ok(())
    }

    fn identify(&self, member: &str, instance: Option<&str>) -> Result<(), i16> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                Some(owner) if owner != member => return Err(code::FENCED_INSTANCE_ID),
                Some(_) => {}
                None => return Err(code::UNKNOWN_MEMBER_ID),
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(code::UNKNOWN_MEMBER_ID) }
    }

    pub(crate) fn join(&mut self, ask: Ask, now: Instant, delay: Duration) -> Step {
        let refuse = |code: i16| Step::Refused(code, ask.member.clone());
        if ask.protocols.is_empty() || ask.protocol_type.is_empty() {
            return refuse(code::INCONSISTENT_GROUP_PROTOCOL);
        }
        // the member's own former protocols count too: it can't swap them all at once (tried on 4.1)
        let fits =
            |wanted: &str| self.members.values().all(|member| member.protocols.iter().any(|(name, _)| name == wanted));
        let alien = self.protocol_type != ask.protocol_type || !ask.protocols.iter().any(|(name, _)| fits(name));
        if !self.members.is_empty() && alien {
            return refuse(code::INCONSISTENT_GROUP_PROTOCOL);
        }
        match (ask.member.is_empty(), ask.instance.clone()) {
            (true, Some(instance)) => match self.instances.get(&instance).cloned() {
                Some(old) => self.replace(&old, &instance, ask, now),
                None => self.add(format!("{instance}-{}", Uuid::new_v4()), ask, now, delay),
            },
            (true, None) => {
                let id = format!("{}-{}", ask.client_id, Uuid::new_v4());
                if ask.id_first {
                    self.expected.insert(id.clone(), now + ask.session);
                    return Step::Refused(code::MEMBER_ID_REQUIRED, id);
                }
                self.add(id, ask, now, delay)
            }
            (false, instance) => {
                if instance.is_none() && self.expected.remove(&ask.member).is_some() {
                    let id = ask.member.clone();
                    return self.add(id, ask, now, delay);
                }
                match self.identify(&ask.member, instance.as_deref()) {
                    Err(code) => refuse(code),
                    Ok(()) => self.rejoin(ask, now, delay),
                }
            }
        }
    }

    fn add(&mut self, id: String, ask: Ask, now: Instant, delay: Duration) -> Step {
        if let Some(instance) = &ask.instance {
            self.instances.insert(instance.clone(), id.clone());
        }
        self.protocol_type.clone_from(&ask.protocol_type);
        let member = Member {
            instance: ask.instance,
            client_id: ask.client_id,
            host: ask.host,
            protocols: ask.protocols,
            assignment: Bytes::new(),
            session: ask.session,
            rebalance: ask.rebalance,
            seen: now,
            joining: false,
            ticket: 0,
            syncing: false,
            outcome: None,
        };
        self.members.insert(id.clone(), member);
        self.wait(id, now, delay)
    }

    /// The member waits for a rebalance, which begins unless one is going on.
    fn wait(&mut self, id: String, now: Instant, delay: Duration) -> Step {
        if self.phase != Phase::Preparing {
            let first = self.phase == Phase::Empty;
            self.prepare(now);
            self.not_before = first.then_some(now + delay);
        }
        self.tickets += 1;
        let ticket = self.tickets;
        if let Some(member) = self.members.get_mut(&id) {
            (member.joining, member.ticket, member.outcome, member.seen) = (true, ticket, None, now);
        }
        Step::Wait(id, ticket)
    }

    fn rejoin(&mut self, ask: Ask, now: Instant, delay: Duration) -> Step {
        let id = ask.member;
        let leads = self.leader == id;
        let Some(member) = self.members.get_mut(&id) else { return Step::Refused(code::UNKNOWN_MEMBER_ID, id) };
        let same = member.protocols == ask.protocols;
        member.protocols = ask.protocols;
        (member.session, member.rebalance, member.seen) = (ask.session, ask.rebalance, now);
        match self.phase {
            // the answer to the join was lost
            Phase::Completing if same => Step::Done(self.told(&id)),
            Phase::Stable if same && !leads => Step::Done(self.told(&id)),
            _ => self.wait(id, now, delay),
        }
    }

    /// A static member came back without its id: it takes its own place and fences its former self (KIP-345).
    fn replace(&mut self, old: &str, instance: &str, ask: Ask, now: Instant) -> Step {
        let new = format!("{instance}-{}", Uuid::new_v4());
        let former_leader = self.leader.clone();
        let Some(mut member) = self.members.shift_remove(old) else {
            return Step::Refused(code::UNKNOWN_MEMBER_ID, ask.member);
        };
        self.instances.insert(instance.to_owned(), new.clone());
        if self.leader == old {
            self.leader.clone_from(&new);
        }
        member.protocols = ask.protocols;
        (member.session, member.rebalance, member.seen) = (ask.session, ask.rebalance, now);
        (member.client_id, member.host) = (ask.client_id, ask.host);
        (member.joining, member.syncing, member.outcome) = (false, false, None);
        self.members.insert(new.clone(), member);
        if self.phase == Phase::Stable && self.choose() == self.protocol {
            let mut told = self.told(&new);
            // the assignment stands: this member need not lead the next
            (told.leader, told.members) = (former_leader, Vec::new());
            return Step::Done(told);
        }
        self.wait(new, now, Duration::ZERO)
    }

    fn prepare(&mut self, now: Instant) {
        let longest = self.members.values().map(|member| member.rebalance).max().unwrap_or_default();
        self.phase = Phase::Preparing;
        self.deadline = Some(now + longest);
        self.not_before = None;
    }

    /// The protocol most members prefer among those that all know.
    fn choose(&self) -> String {
        let common =
            |name: &str| self.members.values().all(|member| member.protocols.iter().any(|(known, _)| known == name));
        let mut votes: IndexMap<&str, usize> = IndexMap::new();
        for member in self.members.values() {
            if let Some((name, _)) = member.protocols.iter().find(|(name, _)| common(name)) {
                *votes.entry(name).or_default() += 1;
            }
        }
        let most = votes.values().max().copied().unwrap_or(0);
        votes.iter().find(|(_, count)| **count == most).map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }

    fn metadata(&self, member: &Member) -> Bytes {
        let chosen = member.protocols.iter().find(|(name, _)| *name == self.protocol);
        chosen.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    fn told(&self, id: &str) -> Joined {
        let members = if self.leader == id {
            let told = |(id, member): (&String, &Member)| (id.clone(), member.instance.clone(), self.metadata(member));
            self.members.iter().map(told).collect()
        } else {
            Vec::new()
        };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member: id.to_owned(),
            members,
        }
    }

    /// The answer to a join that waited, once there is one.
    pub(crate) fn outcome(&mut self, id: &str, ticket: u64, is_static: bool) -> Option<Result<Joined, i16>> {
        match self.members.get_mut(id) {
            None if is_static => Some(Err(code::FENCED_INSTANCE_ID)),
            None => Some(Err(code::UNKNOWN_MEMBER_ID)),
            Some(member) if member.ticket != ticket => Some(Err(code::UNKNOWN_MEMBER_ID)),
            Some(member) => member.outcome.take().map(Ok),
        }
    }

    /// Removes who has been silent, and completes a rebalance that can be; whether anything changed.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        let mut changed = false;
        self.expected.retain(|_, until| *until > now);
        let silent: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| !member.joining && !member.syncing && member.seen + member.session <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in silent {
            self.remove(&id, now);
            changed = true;
        }
        if self.phase == Phase::Preparing {
            let all = self.members.values().all(|member| member.joining) && self.expected.is_empty();
            let late = self.deadline.is_some_and(|deadline| deadline <= now);
            let early = self.not_before.is_some_and(|until| until > now);
            if (all || late) && !early {
                self.complete(now);
                changed = true;
            }
        }
        changed
    }

    fn complete(&mut self, now: Instant) {
        let absent = |member: &Member| !member.joining && member.instance.is_none();
        self.members.retain(|_, member| !absent(member));
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.leader.clear();
            self.protocol.clear();
            return;
        }
        self.protocol = self.choose();
        let leads = self.members.get(&self.leader).is_some_and(|leader| leader.joining);
        if !leads {
            let next = self.members.iter().find(|(_, member)| member.joining).or_else(|| self.members.first());
            self.leader = next.map(|(id, _)| id.clone()).unwrap_or_default();
        }
        self.phase = Phase::Completing;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let told = self.told(&id);
            if let Some(member) = self.members.get_mut(&id) {
                if member.joining {
                    member.outcome = Some(told);
                    member.seen = now;
                }
                (member.joining, member.syncing) = (false, false);
                member.assignment = Bytes::new();
            }
        }
    }

    /// Takes a member out; the others rebalance.
    ///
    /// # Errors
    /// Kafka's code: 25 or 82.
    pub(crate) fn leave(&mut self, id: &str, instance: Option<&str>, now: Instant) -> Result<(), i16> {
        if self.expected.remove(id).is_some() {
            return Ok(());
        }
        // an administrator removes static members by their instance alone
        let owner = instance.filter(|_| id.is_empty()).and_then(|instance| self.instances.get(instance)).cloned();
        let id = owner.as_deref().unwrap_or(id);
        self.identify(id, instance)?;
        self.remove(id, now);
        Ok(())
    }

    fn remove(&mut self, id: &str, now: Instant) {
        if let Some(gone) = self.members.shift_remove(id)
            && let Some(instance) = gone.instance
        {
            self.instances.remove(&instance);
        }
        if matches!(self.phase, Phase::Stable | Phase::Completing) {
            self.prepare(now);
        }
    }

    /// The leader's assignments; the group is stable from now on.
    pub(crate) fn assign(&mut self, assignments: impl IntoIterator<Item = (String, Bytes)>) {
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = assignment;
            }
        }
        self.phase = Phase::Stable;
        for member in self.members.values_mut() {
            member.syncing = false;
        }
    }

    /// The answer to a sync, once there is one.
    pub(crate) fn synced(&mut self, id: &str, instance: Option<&str>, generation: i32) -> Option<Result<Bytes, i16>> {
        if let Err(code) = self.check(id, instance, generation) {
            // the rebalance that came between may have ended already
            return Some(Err(code));
        }
        match self.phase {
            Phase::Empty => Some(Err(code::UNKNOWN_MEMBER_ID)),
            Phase::Preparing => Some(Err(code::REBALANCE_IN_PROGRESS)),
            phase => {
                let member = self.members.get_mut(id)?;
                member.syncing = phase == Phase::Completing;
                (phase == Phase::Stable).then(|| Ok(member.assignment.clone()))
            }
        }
    }
}

/// Lets time pass for all groups; whether anything changed.
pub(crate) fn expire(state: &mut State, now: Instant) -> bool {
    state.groups.values_mut().fold(false, |changed, group| group.advance(now) | changed)
}
