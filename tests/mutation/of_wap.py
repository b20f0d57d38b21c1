GUARDS = ()
