-- What each agent has used in a minute, hour or day, by the beginning of that window: for the budgets of policies.
CREATE TABLE budget_use (
  agent TEXT NOT NULL,
  span TEXT NOT NULL,
  since TEXT NOT NULL,
  statements INTEGER NOT NULL,
  rows_changed INTEGER NOT NULL,
  rows_read INTEGER NOT NULL,
  PRIMARY KEY (agent, span, since)
);
