/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hand-over of docs/handover.md: one session moves a VM of generation g from the source to
 * the destination. tests/model/run says which -D make a pair of hosts, a damage or a witness.
 *
 * Abstractions. A VM's memory is one bit: who has all of it. Faults have budgets, and whatever is
 * tried again blocks until it can work, so every execution ends; then Judge looks at the outcome,
 * and "at last" needs no fairness. A step is one durable write, one lock call or one message: a
 * crash or a cut falls between any two. A durable write is one step because nothing else is done
 * before its fsync has returned; the damage OFFER_NOT_SYNCED shows what that is worth.
 */
#if defined(LOCK) + defined(LEASE) + defined(NONE) != 1
#error "define one of LOCK, LEASE and NONE"
#endif

#define SOURCE 1
#define DEST 2
#define COLD 3 /* a "godwit run" of the same VM on the source's host */

/* What an owner record says. */
#define ABSENT 0
#define RUNNING 1    /* running, g */
#define OFFERED 2    /* offered, g, this migration */
#define TAKEN_BACK 3 /* running, g, after this migration */
#define ACCEPTED 4   /* running, g+1, from this migration */
#define STARTED 5    /* running, g+1, a cold start */

/* A journal's last entry: RUNNING, OFFERED and ACCEPTED as above, and these. */
#define ANSWERED 6 /* offered, and the destination has said whether it found an arbiter */
#define GIVEN 7
#define EXPECTS 8
#define REFUSED 9

/* Messages: five to the destination, four to the source. */
#define M_OFFER 0
#define M_SEAL 1
#define M_TOKEN 2
#define M_CANCEL 3
#define M_ASK 4
#define M_SEEN 5
#define M_READY 6
#define M_ACCEPTED 7
#define M_REFUSED 8
#define MESSAGES 9
#define TO_DEST 5

/* Locks and records: the same for both hosts only where the storage carries locks. */
#ifdef LOCK
#define AT(who, disk) (disk)
#define PLACES DISKS
#else
#define AT(who, disk) ((who == DEST -> DISKS : 0) + disk)
#define PLACES (2 * DISKS)
#endif
#define FREE(who) (lock[AT(who, 0)] == 0)
#define FIRST(who) record[AT(who, 0)]

byte lock[PLACES], record[PLACES];
/*
 * Who was given generation g+1; 0: the source's host has it at g. An answer that is lost, or not
 * known, is a step that is taken while its asker looks again.
 */
byte lease;
byte source_journal = RUNNING;
byte dest_journal = EXPECTS;            /* the handshake is over */
bool source_proven, dest_proven;        /* "the lock decides", kept in each journal */
bool offer_synced = 1;
byte sent[MESSAGES];
bool up = 1;                            /* the connection */

bool source_alive = 1, dest_alive = 1;
bool source_gone, dest_gone;            /* a host that never comes back */
bool source_runs = 1, dest_runs, cold_runs;
bool dest_whole;                        /* all memory and state are loaded */
bool undecided;

byte cuts = CUTS, source_crashes = 1, dest_crashes = 1, cancels = 1;
bool calm;                              /* no more faults */

/* What happened; only claims read it. */
bool token_sent, was_accepted, dest_ran, source_went_on, source_crashed;

/* Claims. A bit that is never set carries the name into the verifier's output. */
bool never_two_run, one_line, token_is_final, cold_start_refuses, given_is_true, someone_runs,
	undecided_only_without_arbiter, source_runs_before_token, lock_in_hand;
#define CLAIM(name, holds) assert(name || (holds))

/* Places that must be reachable, or the claims say nothing. */
#ifndef WITNESS
#define WITNESS 0
#endif
bool witness;
#define REACHED(number) assert(WITNESS != number || witness)

/*
 * One message of a kind may be on the living connection (bit 0) and one may be left of a dead
 * one (bit 1), which is read at any time later or never: loss, duplication and reordering.
 */
#define SEND(m) d_step { if :: up -> sent[m] = sent[m] | 1 :: else fi }
#define RECEIVE(m) atomic { sent[m] != 0 -> \
	if :: sent[m] & 1 -> sent[m] = sent[m] & 2 :: sent[m] & 2 -> sent[m] = sent[m] & 1 fi }

inline run_source() {
	d_step {
		CLAIM(never_two_run, !dest_runs && !cold_runs);
		CLAIM(one_line, !dest_ran && !was_accepted);
		CLAIM(lock_in_hand, lock[AT(SOURCE, 0)] == SOURCE &&
			lock[AT(SOURCE, DISKS - 1)] == SOURCE);
		source_went_on = token_sent;
		source_runs = 1;
		undecided = 0
	}
}

inline run_dest() {
	d_step {
		CLAIM(never_two_run, !source_runs && !cold_runs);
		CLAIM(one_line, !source_went_on);
		CLAIM(lock_in_hand, lock[AT(DEST, 0)] == DEST &&
			lock[AT(DEST, DISKS - 1)] == DEST);
		dest_ran = 1;
		dest_runs = 1
	}
}

/* The first disk's lock decides: who has it waits for the rest. */
inline take_rest(who) {
	if
	:: DISKS == 2 -> atomic { lock[AT(who, DISKS - 1)] == 0 -> lock[AT(who, DISKS - 1)] = who }
	:: else
	fi
}

inline take(who) {
	atomic { FREE(who) -> lock[AT(who, 0)] = who };
	take_rest(who)
}

/* The first disk's lock is let go last. */
inline let_go(who) {
	if
	:: DISKS == 2 && lock[AT(who, DISKS - 1)] == who -> lock[AT(who, DISKS - 1)] = 0
	:: else
	fi;
	if
	:: lock[AT(who, 0)] == who -> lock[AT(who, 0)] = 0
	:: else
	fi
}

/* The first disk's record decides, so it is written first. */
inline write_records(who, value) {
	record[AT(who, 0)] = value;
	if :: DISKS == 2 -> record[AT(who, DISKS - 1)] = value :: else fi
}

#ifdef LOCK
#define RECORD_DECIDES (source_proven && lock[0] == SOURCE && \
	(FIRST(SOURCE) == OFFERED || (source_crashed && FIRST(SOURCE) != ACCEPTED)))
#else
#define RECORD_DECIDES false
#endif

/* Run on the source again, with the locks in hand: its memory or, after a crash, its disks. */
inline source_goes_on(value) {
	CLAIM(token_is_final, !token_sent || dest_journal == REFUSED || lease == SOURCE ||
		RECORD_DECIDES);
	write_records(SOURCE, value);
	source_journal = RUNNING;
	run_source()
}

/*
 * Who runs, once a token may be out? The source that lives and whoever starts it again ask alike;
 * they differ in what they write. The lock branch is a use of take() by hand: the
 * guard of a branch must be the lock itself.
 */
#if defined(LOCK) && !defined(LOCK_WITHOUT_PROOF)
#define LOCK_MAY_DECIDE source_proven
#elif defined(LOCK_WITHOUT_PROOF)
#define LOCK_MAY_DECIDE true
#else
#define LOCK_MAY_DECIDE false
#endif
#ifdef RECORD_NOT_CHECKED
#define NOT_ACCEPTED true
#else
#define NOT_ACCEPTED (FIRST(SOURCE) != ACCEPTED)
#endif
#ifdef TAKE_NOT_ATOMIC
#define take_lease(who) lease == 0 -> lease = who
#else
#define take_lease(who) atomic { lease == 0 -> lease = who }
#endif
inline settle(value) {
	undecided = 1;
	do
	:: RECEIVE(M_ACCEPTED) -> goto given
	:: atomic { LOCK_MAY_DECIDE && FREE(SOURCE) -> lock[AT(SOURCE, 0)] = SOURCE } ->
		take_rest(SOURCE);
		if
		:: NOT_ACCEPTED -> REACHED(3); source_goes_on(value); goto settled
		:: else -> let_go(SOURCE); goto given
		fi
#ifdef LEASE
	:: take_lease(SOURCE)
#ifdef TAKE_NOT_REPEATABLE
	:: lease == SOURCE -> goto given
#endif
	:: lease == SOURCE -> take(SOURCE); REACHED(4); source_goes_on(value); goto settled
	:: lease == DEST || lease == COLD -> goto given
#else
	:: RECEIVE(M_REFUSED) -> take(SOURCE); REACHED(5); source_goes_on(value); goto settled
#endif
#ifdef RESUME_ON_TIMEOUT
	:: take(SOURCE); source_goes_on(value); goto settled
#endif
	:: atomic { !up && dest_alive -> up = 1 }; SEND(M_ASK)
	od;
given:	undecided = 0;
	CLAIM(given_is_true, was_accepted);
	source_journal = GIVEN;
settled: skip
}

proctype Source() {
	{
#ifdef OFFER_NOT_SYNCED
	offer_synced = 0;
#endif
	source_journal = OFFERED;
	write_records(SOURCE, OFFERED);
	SEND(M_OFFER);
	do
	:: RECEIVE(M_SEEN) -> break
	:: RECEIVE(M_REFUSED) -> goto back
	:: atomic { !up && dest_alive -> up = 1 }; SEND(M_OFFER)
	:: !up -> goto back
	:: !calm && cancels -> cancels--; goto back
	od;
	atomic { source_proven = dest_proven; source_journal = ANSWERED };
	do /* rounds go on, over a new connection if need be */
	:: atomic { !up && dest_alive -> up = 1 }
	:: break
	od;
	source_runs = 0; /* vCPUs parked, devices drained, disks fdatasynced */
	SEND(M_SEAL);
	if
	:: RECEIVE(M_READY)
	:: RECEIVE(M_REFUSED) -> goto back
	:: !up -> goto back
	:: !calm && cancels -> cancels--; goto back
	fi;
	if
	:: d_step { token_sent = 1; if :: up -> sent[M_TOKEN] = 1 :: else fi }
	:: !calm && cancels -> cancels--; goto back
	fi;
	let_go(SOURCE);
	if
	:: RECEIVE(M_ACCEPTED) -> goto given
#ifndef LEASE
	:: RECEIVE(M_REFUSED) -> take(SOURCE); source_goes_on(TAKEN_BACK); goto settled
#endif
	:: !up
#ifdef RESUME_ON_TIMEOUT
	:: take(SOURCE); source_goes_on(TAKEN_BACK); goto settled
#endif
	fi;
	settle(TAKEN_BACK);
	goto end;
back:	CLAIM(lock_in_hand, lock[AT(SOURCE, 0)] == SOURCE && FIRST(SOURCE) == OFFERED);
	source_goes_on(TAKEN_BACK);
	SEND(M_CANCEL);
end:	false /* it can still be killed */
	} unless { !source_alive -> run SourceAgain() }
}

/*
 * The source's host after a crash: its memory is lost. "godwit run" refuses what was offered, then
 * somebody says "godwit resolve --run", which looks at lock and record or at the lease; where
 * nothing decides, whoever says it has asked the destination's host.
 */
proctype SourceAgain() {
	if
	:: source_alive = 1
	:: source_gone = 1; goto end
	fi;
	if
	:: source_journal == GIVEN -> goto end
	:: source_journal == ANSWERED -> settle(STARTED); goto end
	:: else /* no token can be out: it is sent only after ANSWERED is durable */
	fi;
	if
	:: atomic { FREE(SOURCE) -> lock[AT(SOURCE, 0)] = SOURCE } -> take_rest(SOURCE)
	:: cold_runs -> goto end
	fi;
	source_goes_on(STARTED);
end:	skip
}

#ifdef LOCK
#define TAKE_OVER (dest_whole && dest_proven && !up && FREE(DEST))
#ifdef DESTINATION_IGNORES_RECORD
#define MAY true
#define MAY_NOT false
#else
#define MAY_NOT (dest_proven && FIRST(DEST) != OFFERED)
#define MAY (FIRST(DEST) == OFFERED)
#endif
#define TRULY_ACCEPTED (FIRST(DEST) == ACCEPTED)
#define COMMIT FIRST(DEST) = ACCEPTED
#elif defined(LEASE)
#ifdef TAKE_WITHOUT_TOKEN
#define TAKE_OVER (dest_whole && !up)
#else
#define TAKE_OVER false
#endif
#define MAY_NOT (lease == SOURCE || lease == COLD)
#define TRULY_ACCEPTED (lease == DEST)
#else
#define TAKE_OVER false
#define MAY_NOT false
#define MAY true
#define TRULY_ACCEPTED (dest_journal == ACCEPTED)
#define COMMIT dest_journal = ACCEPTED
#endif

/*
 * A question is a reason to refuse only where no arbiter decides: one that is read after its
 * source has died would throw away the last whole copy.
 */
#if defined(NONE) || defined(ASKING_ALWAYS_REFUSES)
#define ASKED (sent[M_ASK] != 0)
#else
#define ASKED false
#endif

proctype Dest() {
	{
	do
	:: RECEIVE(M_OFFER) ->
		/* Once: the lock that the source holds is refused here, and this is its record. */
		d_step {
			if
			:: lock[AT(DEST, 0)] == SOURCE && FIRST(DEST) == OFFERED -> dest_proven = 1
			:: else
			fi
		};
		SEND(M_SEEN)
	:: RECEIVE(M_SEAL) -> dest_whole = 1; SEND(M_READY)
	:: atomic { dest_whole && sent[M_TOKEN] -> RECEIVE(M_TOKEN) } -> break
	:: TAKE_OVER -> REACHED(2); break
	:: RECEIVE(M_CANCEL) -> goto refuse
	:: ASKED -> RECEIVE(M_ASK);
#ifdef REFUSAL_NOT_KEPT
		SEND(M_REFUSED)
#else
		goto refuse
#endif
	:: MAY_NOT -> goto refuse
	od;
#ifdef RUN_BEFORE_DURABLE
	take(DEST);
	run_dest();
#else
	if
	:: atomic { FREE(DEST) -> lock[AT(DEST, 0)] = DEST } -> take_rest(DEST)
	:: ASKED -> RECEIVE(M_ASK); goto refuse
	:: MAY_NOT -> goto refuse
	fi;
#endif
#ifdef LEASE
	if
	:: atomic { take_lease(DEST); was_accepted = 1 }
#ifdef REFUSE_ON_UNKNOWN
	:: atomic { lease == 0 -> lease = DEST }; goto refuse
#endif
	:: MAY_NOT -> goto refuse
	fi;
#else
	if
	:: MAY
	:: !(MAY) -> goto refuse
	fi;
	d_step { COMMIT; was_accepted = 1 }; /* the commit point */
#endif
	write_records(DEST, ACCEPTED);
	dest_journal = ACCEPTED;
	run_dest();
	REACHED(1);
	SEND(M_ACCEPTED);
	do
	:: RECEIVE(M_ASK) -> SEND(M_ACCEPTED)
	:: RECEIVE(M_TOKEN) -> SEND(M_ACCEPTED)
	od;
refuse:	dest_journal = REFUSED;
	let_go(DEST);
	SEND(M_REFUSED);
	do
	:: RECEIVE(M_ASK) -> SEND(M_REFUSED)
	:: RECEIVE(M_OFFER) -> SEND(M_REFUSED)
	:: RECEIVE(M_SEAL) -> SEND(M_REFUSED)
	:: RECEIVE(M_TOKEN) -> SEND(M_REFUSED)
	od
	} unless { !dest_alive -> run DestAgain() }
}

/* The destination's host after a crash: its memory is lost, so it never accepts this migration. */
proctype DestAgain() {
	if
	:: dest_alive = 1
	:: dest_gone = 1; goto end
	fi;
	do
	:: atomic {
		if
		:: RECEIVE(M_ASK)
		:: RECEIVE(M_OFFER)
		:: RECEIVE(M_SEAL)
		fi } ->
		if
#ifdef NO_ENTRY_MEANS_NO
		:: SEND(M_REFUSED) /* asked at a host, or with a state directory, without the entry */
#endif
		:: TRULY_ACCEPTED -> SEND(M_ACCEPTED)
		:: !(TRULY_ACCEPTED) -> dest_journal = REFUSED; SEND(M_REFUSED)
		fi
	:: atomic { TRULY_ACCEPTED && !dest_runs && FREE(DEST) -> lock[AT(DEST, 0)] = DEST } ->
		take_rest(DEST);
		write_records(DEST, ACCEPTED); /* the first was ours: the rest are */
		run_dest()
	od;
end:	skip
}

/* One cold start on the source's host at any moment. */
#ifdef COLD_START_LOOKS_AT_NOTHING
#define MAY_START true
#elif defined(COLD_START_IGNORES_JOURNAL)
#define MAY_START (FIRST(SOURCE) != OFFERED)
#else
#define MAY_START (FIRST(SOURCE) != OFFERED && source_journal == RUNNING)
#endif
inline begin_lease() {
#ifdef LEASE
	if
	:: atomic { lease == 0 || lease == SOURCE -> lease = COLD }
	:: lease == DEST -> goto refuse
	fi
#else
	skip
#endif
}

proctype Cold() {
	if
	:: atomic { !calm && FREE(SOURCE) -> lock[AT(SOURCE, 0)] = COLD }
	:: calm -> goto end
	fi;
	if
	:: DISKS == 2 && lock[AT(SOURCE, DISKS - 1)] != 0 -> goto refuse
	:: else -> lock[AT(SOURCE, DISKS - 1)] = COLD
	fi;
#ifdef LEASE_BEFORE_JOURNAL
	begin_lease();
#endif
	if
	:: !(MAY_START) -> goto refuse
	:: else
	fi;
#ifndef LEASE_BEFORE_JOURNAL
	begin_lease();
#endif
	d_step {
		CLAIM(cold_start_refuses, FIRST(SOURCE) != OFFERED && source_journal != GIVEN &&
			!was_accepted);
		CLAIM(never_two_run, !source_runs && !dest_runs)
	};
	write_records(SOURCE, STARTED);
	REACHED(6);
	cold_runs = 1;
	goto end;
refuse:	let_go(COLD);
end:	skip
}

inline break_connection() {
	up = 0;
	for (k : 0 .. MESSAGES - 1) { sent[k] = (sent[k] -> 2 : 0) }
	k = 0
}

/* A process dies: its locks are free, what nobody synced is lost, so is what it had not read. */
inline die(who, first, last) {
	break_connection();
	for (k : first .. last) { sent[k] = 0 }
	for (k : 0 .. PLACES - 1) { lock[k] = (lock[k] == who -> 0 : lock[k]) }
	k = 0
}

proctype Faults() {
	byte k;
	do
	:: d_step { up && cuts -> cuts--; break_connection() }
	:: d_step { source_alive && source_crashes -> source_crashes--;
		source_alive = 0; source_runs = 0; source_crashed = 1; undecided = 0;
		die(SOURCE, TO_DEST, MESSAGES - 1);
		if
		:: !offer_synced && source_journal != GIVEN ->
			source_journal = RUNNING; write_records(SOURCE, RUNNING)
		:: else
		fi }
	:: d_step { dest_alive && dest_crashes -> dest_crashes--;
		dest_alive = 0; dest_runs = 0; dest_whole = 0;
		die(DEST, 0, TO_DEST - 1) }
	:: d_step { sent[M_OFFER] & 2 -> sent[M_OFFER] = sent[M_OFFER] & 1 }
	:: d_step { sent[M_SEAL] & 2 -> sent[M_SEAL] = sent[M_SEAL] & 1 }
	:: d_step { sent[M_TOKEN] & 2 -> sent[M_TOKEN] = sent[M_TOKEN] & 1 }
	:: d_step { sent[M_CANCEL] & 2 -> sent[M_CANCEL] = sent[M_CANCEL] & 1 }
	:: d_step { sent[M_ASK] & 2 -> sent[M_ASK] = sent[M_ASK] & 1 }
	:: d_step { sent[M_SEEN] & 2 -> sent[M_SEEN] = sent[M_SEEN] & 1 }
	:: d_step { sent[M_READY] & 2 -> sent[M_READY] = sent[M_READY] & 1 }
	:: d_step { sent[M_ACCEPTED] & 2 -> sent[M_ACCEPTED] = sent[M_ACCEPTED] & 1 }
	:: d_step { sent[M_REFUSED] & 2 -> sent[M_REFUSED] = sent[M_REFUSED] & 1 }
	:: calm = 1; break
	od
}

/* Memory that only the destination has still, and that the lock lets it run. */
#ifdef LOCK
#define DEST_MUST_RUN (dest_whole && dest_proven && dest_alive && record[0] == OFFERED)
#define UNDECIDED_IS_FAIR false
#elif defined(LEASE)
#define DEST_MUST_RUN false
#define UNDECIDED_IS_FAIR false
#else
#define DEST_MUST_RUN false
#define UNDECIDED_IS_FAIR (dest_gone && source_journal == ANSWERED)
#endif

/* Everything that can go on has: who runs? */
proctype Judge() {
	timeout ->
	d_step {
		CLAIM(never_two_run, source_runs + dest_runs + cold_runs <= 1);
		CLAIM(undecided_only_without_arbiter, !undecided || UNDECIDED_IS_FAIR);
		if :: undecided -> REACHED(7) :: else fi;
		CLAIM(source_runs_before_token, token_sent || source_crashed || source_runs);
		CLAIM(someone_runs, source_runs || dest_runs || cold_runs || undecided ||
			(dest_gone && was_accepted && (source_journal == GIVEN || source_gone)) ||
			(source_gone && !was_accepted && !DEST_MUST_RUN))
	}
}

init {
	atomic {
		lock[AT(SOURCE, 0)] = SOURCE; lock[AT(SOURCE, DISKS - 1)] = SOURCE;
		record[AT(SOURCE, 0)] = RUNNING; record[AT(SOURCE, DISKS - 1)] = RUNNING;
		run Source(); run Dest(); run Cold(); run Faults(); run Judge()
	}
}
