-- Numbers amendments of messages in the order in which they are decided: who decides the second one of a message holds the locks
-- of its person and its chain, and takes the number after that.
create sequence amendment_numbers;
