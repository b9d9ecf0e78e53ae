/* The wake protocol as a spin model: no wake-up is lost, and nothing of a scope hits the thread after its end.
 *
 * Thread T runs SCOPES scopes in turn, each on its own token with an own call inside, then an unrelated blocking call. A canceller a token
 * fires it at any moment; the monitor takes second looks. Memory is sequentially consistent here (the orders that this needs of the C
 * program are argued in docs/memory-model.md); the signal is a standard one, so pending signals coalesce.
 *
 *   program                                   model
 *   window.state                              ARMED, FIRED, POKING, gen: one word, so changed in atomic { }
 *   inflight                                  inflight
 *   slot[].token                              slot
 *   the signal pending on T                   sigpend
 *   hold(), send_one(), let_go() of poke.c    poke(k)
 *   handler_run()                             handle()
 *   arm(), disarm(), drain() of scope.c       T: begin, end
 *   arch_window()                             T: between "window" and "cut"
 *
 * Mutants, each of which must fail:
 *   -DEARLY     inflight is set before the signal is sent
 *   -DNODRAIN   scope end does not drain
 *   -DNOGEN     the poker does not compare the generation
 *   -DNOLOAD    begin does not load the token after arming
 *   -DLATEFLAG -DNOLOOK   FIRED is stored after the signal (the second look would hide it)
 *   -DNOPC -DNOLOOK       the handler does not move the pc, and there is no second look
 * NOLOOK alone must pass: an own call needs no second look.
 */
#define SCOPES 2
#define NONE 9

bool ARMED, FIRED, POKING;
byte gen;
bool inflight, sigpend;
byte slot = NONE;
bool token[SCOPES];
bool blocked, ended, data;

inline handle()
{
	sigpend = false;
	inflight = false
}

/* seen: the generation under which the slot was read */
inline poke(k, seen)
{
	do
	:: atomic {
#ifdef NOGEN
		ARMED && !POKING ->
#else
		ARMED && gen == seen && !POKING ->
#endif
#ifndef LATEFLAG
		FIRED = true;
#endif
		POKING = true
	   };
#ifdef EARLY
	   inflight = true;
	   sigpend = true;
#else
	   sigpend = true;
	   inflight = true;
#endif
#ifdef LATEFLAG
	   FIRED = true;
#endif
	   POKING = false;
	   break
	:: atomic { ARMED && gen == seen && POKING -> FIRED = true }; break /* the other poker sends */
#ifdef NOGEN
	:: atomic { !ARMED -> break }
#else
	:: atomic { !(ARMED && gen == seen) -> break }
#endif
	od
}

active [SCOPES] proctype canceller()
{
	byte me = _pid, seen;
	bool mine;
	token[me] = true;
	atomic { mine = ARMED && slot == me; seen = gen };
	if
	:: mine -> poke(me, seen)
	:: else
	fi
}

proctype monitor()
{
	byte seen;
#ifdef NOLOOK
	ended
#else
	do
	:: atomic { ARMED && FIRED && blocked && !POKING -> seen = gen };
	   poke(0, seen)
	:: ended -> break
	od
#endif
}

/* A signal that is pending is taken before the next instruction. In the window the pc is moved. */
#ifdef NOPC
#define TAKE_IN_WINDOW if :: atomic { sigpend -> handle() } :: skip fi
#else
#define TAKE_IN_WINDOW if :: atomic { sigpend -> handle(); if :: FIRED -> goto cut :: else fi } :: skip fi
#endif
#define TAKE if :: atomic { sigpend -> handle() } :: skip fi

proctype T()
{
	byte i = 0;
	bool poking;
	do
	:: i == SCOPES -> break
	:: else ->
	   /* begin */
	   slot = i;
	   atomic { ARMED = true; FIRED = false; gen = gen + 1 };
#ifndef NOLOAD
	   if
	   :: token[i] -> FIRED = true
	   :: else
	   fi;
#endif
	   /* the window */
	   TAKE_IN_WINDOW;
	   if
	   :: FIRED -> goto cut
	   :: else
	   fi;
	   TAKE_IN_WINDOW;
	   /* the call: a pending signal is seen before the thread sleeps, and wakes it */
	   blocked = true;
	   do
	   :: atomic { sigpend -> blocked = false; handle(); if :: FIRED -> goto cut :: else -> blocked = true fi }
	   :: atomic { data -> data = false; blocked = false; goto out }
	   od;
cut:	   blocked = false;
	   assert(token[i]); /* by its own token, not by another scope's */
out:	   blocked = false;
	   TAKE; /* the user's code inside the scope */
	   /* end */
	   atomic { ARMED = false; FIRED = false; poking = POKING };
#ifndef NODRAIN
	   if
	   :: poking || inflight ->
	      !POKING;                                            /* yields, then a futex */
	      if :: atomic { sigpend -> handle() } :: else fi;    /* a trivial system call delivers it */
	      if :: inflight -> atomic { sigpend = false; inflight = false } :: else fi /* rt_sigtimedwait(0) */
	   :: else
	   fi;
#endif
	   slot = NONE;
	   /* an unrelated blocking call: a signal here is a stale hit */
	   if
	   :: atomic { sigpend -> assert(false) }
	   :: skip
	   fi;
	   i = i + 1
	od;
	ended = true
}

init
{
	atomic { run T(); run monitor() };
	if
	:: data = true /* the first call may also complete */
	:: skip
	fi
}
